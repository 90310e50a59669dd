//! What can build: this machine's systems and features, and those of its remote builders.
//!
//! Reads the notation of Nix's `builders` setting, and decides as Nix does which machine may build a
//! derivation. It does not know which of them can be reached.

use std::collections::BTreeSet;

use crate::derivation::Derivation;

/// A remote builder: one entry of the `builders` setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The systems that it builds for.
    pub systems: BTreeSet<String>,
    /// How many builds it takes at a time.
    pub max_jobs: u32,
    /// The features that it has.
    pub features: BTreeSet<String>,
    /// The features that a derivation must require to be built there.
    pub mandatory: BTreeSet<String>,
}

/// What a derivation asks of the machine that builds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirements {
    /// The system.
    pub system: String,
    /// The features.
    pub features: BTreeSet<String>,
    /// Whether Nix itself is the builder, which works on every system.
    pub builtin: bool,
}

/// Who may build a derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builders {
    /// This machine.
    pub local: bool,
    /// A remote builder.
    pub remote: bool,
}

impl Builders {
    /// Returns whether nobody may build it.
    pub const fn is_nobody(self) -> bool {
        !self.local && !self.remote
    }
}

impl Machine {
    /// Reads the `builders` setting. Entries are separated by newlines or `;`; `@FILE` includes a
    /// file, which `read` reads (`None` if there is none). `own_system` stands for a missing one.
    ///
    /// An entry that is not understood is left out: Nix complains about it when it builds.
    pub fn parse_all(
        builders: &str,
        own_system: &str,
        read: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Vec<Self> {
        let mut machines = Vec::new();
        for entry in entries(builders) {
            match entry.strip_prefix('@') {
                // Nix follows includes of includes, too; a circle must not hang us.
                Some(file) => {
                    let text = read(file.trim()).unwrap_or_default();
                    let lines = entries(&text).filter(|line| !line.starts_with('@'));
                    machines.extend(lines.filter_map(|line| Self::parse(line, own_system)));
                }
                None => machines.extend(Self::parse(entry, own_system)),
            }
        }
        machines
    }

    fn parse(entry: &str, own_system: &str) -> Option<Self> {
        let fields: Vec<&str> = entry.split_whitespace().collect();
        let field = |index: usize| fields.get(index).copied().filter(|field| *field != "-");
        let set = |index: usize| -> BTreeSet<String> {
            let words = field(index).into_iter().flat_map(|field| field.split(','));
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        fields.first()?;
        let systems = set(1);
        let mandatory = set(6);
        Some(Self {
            systems: if systems.is_empty() { [own_system.to_owned()].into() } else { systems },
            max_jobs: field(3).map_or(Some(1), |number| number.parse().ok())?,
            features: set(5).union(&mandatory).cloned().collect(),
            mandatory,
        })
    }

    fn may_build(&self, requirements: &Requirements) -> bool {
        (self.systems.contains(&requirements.system) || requirements.builtin)
            && requirements.features.is_subset(&self.features)
            && self.mandatory.is_subset(&requirements.features)
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', ';'])
        .map(|entry| entry.split('#').next().unwrap_or_default().trim())
        .filter(|entry| !entry.is_empty())
}

impl Requirements {
    /// Reads what `derivation` requires.
    pub fn of(derivation: &Derivation) -> Self {
        Self {
            system: derivation.system.clone(),
            features: features(derivation),
            builtin: derivation.builder.starts_with(b"builtin:"),
        }
    }

    /// Says it in a few words: `aarch64-linux`, or `x86_64-linux with kvm`.
    pub fn describe(&self) -> String {
        if self.features.is_empty() {
            return self.system.clone();
        }
        let features: Vec<&str> = self.features.iter().map(String::as_str).collect();
        format!("{} with {}", self.system, features.join(", "))
    }
}

/// Reads `requiredSystemFeatures`, a string of words or, with structured attributes, a list.
fn features(derivation: &Derivation) -> BTreeSet<String> {
    const NAME: &str = "requiredSystemFeatures";
    if let Some(json) = derivation.env("__json") {
        let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let list = value[NAME].as_array().cloned().unwrap_or_default();
        return list.iter().filter_map(|feature| Some(feature.as_str()?.to_owned())).collect();
    }
    let words = String::from_utf8_lossy(derivation.env(NAME).unwrap_or_default()).into_owned();
    words.split_whitespace().map(str::to_owned).collect()
}

/// What this machine and its builders can build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// The systems that this machine builds for itself.
    pub systems: BTreeSet<String>,
    /// The features that it has.
    pub features: BTreeSet<String>,
    /// The remote builders.
    pub machines: Vec<Machine>,
}

impl Capabilities {
    /// Returns who may build what has these requirements.
    pub fn builders_of(&self, requirements: &Requirements) -> Builders {
        Builders {
            local: (self.systems.contains(&requirements.system) || requirements.builtin)
                && requirements.features.is_subset(&self.features),
            remote: self.machines.iter().any(|machine| machine.may_build(requirements)),
        }
    }

    /// Returns how many builds the remote builders take together.
    pub fn remote_jobs(&self) -> u32 {
        self.machines.iter().fold(0, |sum, machine| sum.saturating_add(machine.max_jobs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &str) -> BTreeSet<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn parse(builders: &str) -> Vec<Machine> {
        let mut read = |file: &str| {
            (file == "/etc/nix/machines").then(|| {
                "# ours\n@/etc/nix/machines\nssh://far aarch64-linux,armv7l-linux /key 8 2 kvm,big-parallel benchmark\n"
                    .to_owned()
            })
        };
        Machine::parse_all(builders, "x86_64-linux", &mut read)
    }

    #[test]
    fn reads_the_builders_setting() {
        assert_eq!(parse(""), []);
        assert_eq!(parse("@/nowhere"), []);
        let near = Machine {
            systems: words("x86_64-linux"),
            max_jobs: 1,
            features: words(""),
            mandatory: words(""),
        };
        assert_eq!(parse("ssh://near"), std::slice::from_ref(&near));
        assert_eq!(parse("ssh://near - - - # the one below the desk"), std::slice::from_ref(&near));
        let far = Machine {
            systems: words("aarch64-linux armv7l-linux"),
            max_jobs: 8,
            features: words("kvm big-parallel benchmark"),
            mandatory: words("benchmark"),
        };
        assert_eq!(parse("@/etc/nix/machines ; ssh://near"), [far, near]);
        assert_eq!(parse("ssh://odd x86_64-linux - many"), []);
    }

    #[test]
    fn decides_who_may_build() {
        let capabilities = Capabilities {
            systems: words("x86_64-linux i686-linux"),
            features: words("big-parallel"),
            machines: parse("@/etc/nix/machines; ssh://near x86_64-linux - 4 1 kvm"),
        };
        let ask = |system: &str, features: &str, builtin| {
            let requirements =
                Requirements { system: system.into(), features: words(features), builtin };
            let Builders { local, remote } = capabilities.builders_of(&requirements);
            (local, remote)
        };
        assert_eq!(ask("x86_64-linux", "", false), (true, true));
        assert_eq!(ask("i686-linux", "big-parallel", false), (true, false));
        assert_eq!(ask("x86_64-linux", "kvm", false), (false, true));
        // The feature is mandatory there.
        assert_eq!(ask("aarch64-linux", "", false), (false, false));
        assert_eq!(ask("aarch64-linux", "benchmark kvm", false), (false, true));
        assert_eq!(ask("riscv64-linux", "", false), (false, false));
        assert_eq!(ask("builtin", "", true), (true, true));
        assert_eq!(capabilities.remote_jobs(), 12);
    }

    #[test]
    fn reads_requirements() {
        let mut derivation = Derivation { system: "x86_64-linux".into(), ..Default::default() };
        assert_eq!(Requirements::of(&derivation).describe(), "x86_64-linux");
        let set = |derivation: &mut Derivation, name: &str, value: &str| {
            derivation.env.insert(name.into(), value.into());
        };
        set(&mut derivation, "requiredSystemFeatures", "kvm  big-parallel");
        assert_eq!(Requirements::of(&derivation).describe(), "x86_64-linux with big-parallel, kvm");
        set(&mut derivation, "__json", r#"{"requiredSystemFeatures":["uid-range"]}"#);
        assert_eq!(Requirements::of(&derivation).features, words("uid-range"));
        set(&mut derivation, "__json", "no json");
        assert_eq!(Requirements::of(&derivation).features, words(""));
        derivation.builder = b"builtin:fetchurl".to_vec();
        assert!(Requirements::of(&derivation).builtin);
    }
}
