# `services.levain` for NixOS. `docs/guides/nixos.md` shows it in use.
#
# How the service is kept from the machine stands in the unit that other systems use as well.
# `tests/system/installing.rs` evaluates this with as much of nixpkgs as it needs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.levain;
  inherit (lib) mkOption types;
  unit = import ./service-settings.nix ../server/systemd/levain.service;
  directory = "/var/lib/levain";
  credential = name: "/run/credentials/levain.service/${name}";
  # systemd replaces what begins with these, also in the environment.
  specifiers = builtins.replaceStrings [ "%" ] [ "%%" ];
  quoted = text: ''"${builtins.replaceStrings [ "\\" "\"" "%" "$" ] [ "\\\\" "\\\"" "%%" "$$" ] text}"'';
in
{
  options.services.levain = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to run `levain serve`, which builds what is pushed.";
    };
    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./levain.nix { };
      defaultText = lib.literalExpression "levain.packages.\${system}.levain";
      description = "The package with `bin/levain`. It is also put on the `PATH` of everybody.";
    };
    listen = mkOption {
      type = types.str;
      default = "127.0.0.1:8740";
      example = "[::1]:8740";
      description = "Address and port to listen on. Put a reverse proxy with TLS before it.";
    };
    publicUrl = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "https://ci.example.org";
      description = "Address by which forges and people reach the server. Without one nobody but the operator signs in.";
    };
    database = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "postgres://levain@%2Frun%2Fpostgresql/levain";
      description = ''
        Database: `sqlite:/PATH` or `postgres://USER@HOST/NAME`; an SQLite file in `${directory}` if null.
        Everybody can read it in the store, so a password belongs in a file with `LEVAIN_DATABASE=…`
        that `systemd.services.levain.serviceConfig.EnvironmentFile` names.
      '';
    };
    workers = mkOption {
      type = types.ints.between 1 1000;
      default = 2;
      description = "How many runs are carried out at a time.";
    };
    readOnly = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to carry out runs and post and push nothing.";
    };
    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--evaluation-memory" "8192" ];
      description = "More arguments of `levain serve`.";
    };
    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        bread = "/run/secrets/bread-token";
      };
      description = ''
        Files with secrets, each under a name. systemd reads them as root when the service starts; levain
        finds a copy that nobody else can read in `/run/credentials/levain.service/NAME`. That path is what
        `levain project add --token-file` and `levain sign-in add --client-secret-file` are told. The file
        named `signing-key`, if there is one, has the key that signs caches.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    users.groups.levain = { };
    users.users.levain = {
      isSystemUser = true;
      group = "levain";
      # So that `sudo -Hu levain levain …` finds the server's database.
      home = directory;
    };
    systemd.services.levain = {
      description = "levain, continuous integration for Nix flakes";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "nix-daemon.socket" "postgresql.service" ];
      path = [ config.nix.package pkgs.bubblewrap pkgs.git pkgs.openssh ];
      environment = builtins.mapAttrs (_: specifiers) ({
        NIX_REMOTE = "daemon";
        LEVAIN_LISTEN = cfg.listen;
        LEVAIN_WORKERS = toString cfg.workers;
      }
      // lib.optionalAttrs (cfg.publicUrl != null) { LEVAIN_PUBLIC_URL = cfg.publicUrl; }
      // lib.optionalAttrs (cfg.database != null) { LEVAIN_DATABASE = cfg.database; }
      // lib.optionalAttrs cfg.readOnly { LEVAIN_READ_ONLY = "1"; }
      // lib.optionalAttrs (cfg.credentials ? signing-key) { LEVAIN_SIGNING_KEY_FILE = credential "signing-key"; });
      serviceConfig = removeAttrs unit [ "Environment" "EnvironmentFile" ] // {
        ExecStart = lib.concatStringsSep " " ([ "${cfg.package}/bin/levain serve" ] ++ map quoted cfg.extraArgs);
        LoadCredential = lib.mapAttrsToList (name: file: "${name}:${file}") cfg.credentials;
      };
    };
  };
}
