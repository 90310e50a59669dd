//! Installing the server: the units, the NixOS module, and what the flake has for those who build levain.
//!
//! nixpkgs is not here: `nixpkgs/` stands for as much of it as is used. With a copy of the repository `nixpkgs.lib` in
//! LEVAIN_NIXPKGS_LIB the module is evaluated by NixOS's own rules as well.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::environment::{Environment, copy_tree};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A copy of what the flake is made of, and of the stand-in for nixpkgs.
struct Flake {
    environment: Environment,
    place: PathBuf,
}

impl Flake {
    fn new() -> Self {
        let environment = Environment::new();
        let place = environment.path("levain");
        for name in ["lib", "nix", "templates", "server/systemd", "tests/system/nixpkgs"] {
            copy_tree(&root().join(name), &place.join(name));
        }
        for name in ["flake.nix", "Cargo.toml", "Cargo.lock"] {
            fs::copy(root().join(name), place.join(name)).unwrap();
        }
        Self { environment, place }
    }

    /// Evaluates an expression in which `evaluate CONFIGURATION` is what the module says with it.
    fn evaluate(&self, expression: &str) -> Value {
        let expression = format!(
            "let
              pkgs = import ./tests/system/nixpkgs/pkgs.nix;
              module = ((import ./flake.nix).outputs {{ }}).nixosModules.default;
              evaluate = (import ./tests/system/nixpkgs/lib.nix).evaluate module pkgs;
            in {expression}"
        );
        let args = ["eval", "--impure", "--json", "--expr", &expression];
        self.environment.run("nix", &self.place, &args).ok().json()
    }
}

/// Everything that can be set.
const CONFIGURATION: &str = r#"{
    enable = true;
    listen = "[::1]:9000";
    publicUrl = "https://ci.example.org";
    database = "postgres://levain@%2Frun%2Fpostgresql/levain";
    workers = 3;
    readOnly = true;
    extraArgs = [ "--evaluation-memory" "8192" "a $b%c\"d" ];
    credentials = { bread = "/run/secrets/bread"; signing-key = "/run/secrets/key"; };
}"#;

#[test]
fn the_module_runs_the_server_as_it_is_told() {
    let flake = Flake::new();
    let machine = flake.evaluate(&format!("evaluate {CONFIGURATION}"));
    let service = &machine["systemd"]["services"]["levain"];
    assert_eq!(
        service["environment"],
        json!({
            "LEVAIN_DATABASE": "postgres://levain@%%2Frun%%2Fpostgresql/levain",
            "LEVAIN_LISTEN": "[::1]:9000",
            "LEVAIN_PUBLIC_URL": "https://ci.example.org",
            "LEVAIN_READ_ONLY": "1",
            "LEVAIN_SIGNING_KEY_FILE": "/run/credentials/levain.service/signing-key",
            "LEVAIN_WORKERS": "3",
            "NIX_REMOTE": "daemon",
        })
    );
    let start = service["serviceConfig"]["ExecStart"].as_str().unwrap();
    let (program, arguments) = start.split_once(' ').unwrap();
    assert!(program.ends_with("-levain/bin/levain"), "{program}");
    assert_eq!(arguments, r#"serve "--evaluation-memory" "8192" "a $$b%%c\"d""#);
    assert_eq!(
        service["serviceConfig"]["LoadCredential"],
        json!(["bread:/run/secrets/bread", "signing-key:/run/secrets/key"])
    );
    assert_eq!(machine["users"]["users"]["levain"]["home"], "/var/lib/levain");
    assert_eq!(flake.evaluate("evaluate { }"), json!({}), "nothing is done unasked");

    // What it sets is what the server reads.
    let help = flake.environment.levain(&flake.place, &["serve", "--help"]).ok().stdout;
    let variables = service["environment"].as_object().unwrap().keys();
    for name in variables.filter(|name| name.starts_with("LEVAIN_")) {
        assert!(help.contains(&format!("[env: {name}")), "{name} is not in\n{help}");
    }
    assert!(help.contains("--evaluation-memory "), "{help}");
}

#[test]
fn the_module_refuses_what_has_not_its_type() {
    let flake = Flake::new();
    let refuses = |configuration: &str| {
        let is_fine = format!("(builtins.tryEval (evaluate {configuration})).success");
        flake.evaluate(&is_fine) == json!(false)
    };
    assert!(!refuses("{ enable = true; }"));
    for wrong in ["workers = 0", "workers = 1001", "listen = 8740", "credentials.x = 1", "port = 1"]
    {
        assert!(refuses(&format!("{{ enable = true; {wrong}; }}")), "{wrong}");
    }
}

/// Set by those who have it.
#[test]
fn nixos_itself_takes_the_module() {
    let Ok(library) = std::env::var("LEVAIN_NIXPKGS_LIB") else { return };
    let flake = Flake::new();
    let machine = flake.evaluate(&format!(
        "let
          lib = import {library}/lib;
          any = lib.mkOption {{ type = lib.types.attrsOf lib.types.anything; default = {{ }}; }};
          machine = {{ options = {{ systemd = any; users = any; environment = any; nix = any; }}; }};
          given = {{ _module.args.pkgs = pkgs; nix.package = \"/nix\"; services.levain = {CONFIGURATION}; }};
        in (lib.evalModules {{ modules = [ machine module given ]; }}).config"
    ));
    let stand_in = flake.evaluate(&format!("evaluate {CONFIGURATION}"));
    for part in ["systemd", "users"] {
        assert_eq!(machine[part], stand_in[part]);
    }
}

#[test]
fn the_flake_has_packages_checks_shells_and_jobs() {
    let flake = Flake::new();
    let names = "let outputs = import ./nix/outputs.nix { pkgsFor = _: pkgs; };
        in builtins.mapAttrs (_: builtins.mapAttrs (_: value:
          builtins.mapAttrs (_: value: value.drvPath or (builtins.mapAttrs (_: value: value.drvPath) value)) value)) outputs";
    let outputs = flake.evaluate(names);
    for system in ["x86_64-linux", "aarch64-linux"] {
        let keys = |output: &str| {
            let keys = outputs[output][system].as_object().unwrap().keys();
            keys.cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys("packages"), "default levain levain-cache");
        assert_eq!(keys("checks"), "format scripts units");
        assert_eq!(keys("devShells"), "default");
        assert_eq!(keys("levainJobs"), "checks levain levain-cache");
    }
    // The library and the module need no nixpkgs: whoever takes only those fetches nothing.
    let own = "let outputs = (import ./flake.nix).outputs { };
        in { names = builtins.attrNames outputs; systems = builtins.attrNames outputs.packages; }";
    let own = flake.evaluate(own);
    assert_eq!(
        own["names"],
        json!([
            "checks",
            "devShells",
            "levainJobs",
            "lib",
            "nixosModules",
            "package",
            "packages",
            "templates"
        ])
    );
    assert_eq!(own["systems"], json!(["aarch64-linux", "x86_64-linux"]));
    let package = flake.evaluate("(pkgs.callPackage ./nix/levain.nix { }).arguments");
    assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(package["buildAndTestSubdir"], "cli");
    assert_eq!(package["meta"]["mainProgram"], env!("CARGO_PKG_NAME"));
}

/// How much of the machine a service could harm at most, in tenths, as systemd sees it.
const SERVER: u32 = 25;
const FRONT: u32 = 15;

#[track_caller]
fn is_confined(environment: &Environment, unit: &Path, most: u32) {
    let directory = unit.parent().unwrap();
    let program = unit.display().to_string();
    let threshold = format!("--threshold={most}");
    let args = ["security", "--offline=true", "--no-pager", &threshold, &program];
    environment.run("systemd-analyze", directory, &args).ok();
}

#[test]
fn the_units_are_as_confined_as_the_server_can_be() {
    let flake = Flake::new();
    let has_systemd = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .any(|place| place.join("systemd-analyze").exists());
    if !has_systemd {
        return;
    }
    let units = flake.place.join("server/systemd");
    is_confined(&flake.environment, &units.join("levain.service"), SERVER);
    is_confined(&flake.environment, &units.join("levain-front.service"), FRONT);

    // What the module makes of it is no less.
    let settings = flake
        .evaluate(&format!("(evaluate {CONFIGURATION}).systemd.services.levain.serviceConfig"));
    let mut unit = "[Service]\n".to_owned();
    for (key, value) in settings.as_object().unwrap() {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for value in values {
            unit.push_str(&format!("{key}={}\n", value.as_str().unwrap()));
        }
    }
    let file = flake.environment.path("levain.service");
    fs::write(&file, unit).unwrap();
    is_confined(&flake.environment, &file, SERVER);
}

#[test]
fn the_units_start_a_server_as_it_can_be_started() {
    let flake = Flake::new();
    let levain = |args: &[&str]| flake.environment.levain(&flake.place, args);
    for name in ["levain", "levain-front"] {
        let unit =
            fs::read_to_string(root().join(format!("server/systemd/{name}.service"))).unwrap();
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let mut words = start.split(' ');
        assert_eq!(words.next(), Some("/usr/local/bin/levain"));
        let words: Vec<&str> = words.chain(["--help"]).collect();
        levain(&words).ok();
    }
    // Nobody would carry out what waits in a file that only one server has.
    levain(&["serve", "--workers", "0"]).code(1).says("`--workers 0`").says("postgres://");
}
