//! Rules from outside that data may be under, each with how long its audit entries have to be kept.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seven years in days: what most frameworks ask for, and the default.
pub(crate) const SEVEN_YEARS: u32 = 2555;

/// One set of rules, such as SOX.
///
/// The periods are those of the common reading of each framework, not legal advice; set your own where you need to.
///
/// ```
/// use audit_core::Framework;
///
/// assert_eq!(Framework::pci_dss().retention_days, 1095);
/// let own = Framework::new("iso 27001", 1825);
/// assert_eq!(own.name, "ISO_27001");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Framework {
    /// Its name in upper case with `_` between words, such as `PCI_DSS`.
    pub name: String,
    /// Whether it applies: what is under a framework that doesn't is recorded without it. Default: yes.
    pub enabled: bool,
    /// For how many days an entry under this framework has to be kept at least.
    pub retention_days: u32,
    /// Whether a change of data under this framework must be recorded, whatever else is configured. Default: yes.
    pub audit_required: bool,
}

impl Framework {
    /// A framework that applies and requires an audit. The name is brought to upper case, with `_` for dashes and
    /// blanks; `retention_days` is in days.
    pub fn new(name: &str, retention_days: u32) -> Self {
        Self { name: normalise(name), enabled: true, retention_days, audit_required: true }
    }

    /// Sarbanes-Oxley Act: 2555 days (seven years).
    pub fn sox() -> Self {
        Self::new("SOX", SEVEN_YEARS)
    }

    /// Payment Card Industry Data Security Standard: 1095 days (three years).
    pub fn pci_dss() -> Self {
        Self::new("PCI_DSS", 1095)
    }

    /// General Data Protection Regulation: 2555 days (seven years).
    pub fn gdpr() -> Self {
        Self::new("GDPR", SEVEN_YEARS)
    }

    /// Health Insurance Portability and Accountability Act: 2555 days (seven years).
    pub fn hipaa() -> Self {
        Self::new("HIPAA", SEVEN_YEARS)
    }

    /// The framework of this name with what is known about it; for one of the user's own, seven years.
    pub(crate) fn named(name: &str) -> Self {
        let name = normalise(name);
        let known = [Self::sox(), Self::pci_dss(), Self::gdpr(), Self::hipaa()];
        known.into_iter().find(|known| known.name == name).unwrap_or_else(|| Self::new(&name, SEVEN_YEARS))
    }
}

/// The name in upper case, with `_` for each dash and blank, without blanks around.
pub(crate) fn normalise(name: &str) -> String {
    name.trim()
        .chars()
        .flat_map(char::to_uppercase)
        .map(|c| if c == '-' || c.is_whitespace() { '_' } else { c })
        .collect()
}

/// Frameworks by name, in the order of their names. `pci-dss`, `PCI DSS` and `PCI_DSS` are one name.
///
/// As JSON or TOML it is a table by name, of which every value may be left out:
///
/// ```
/// use audit_core::{Framework, Frameworks};
///
/// let frameworks: Frameworks = serde_json::from_str(r#"{"sox": {"retention_days": 3650}, "own": {}}"#)?;
/// assert_eq!(frameworks.get("SOX").map(|sox| sox.retention_days), Some(3650));
/// assert_eq!(frameworks.get("Own"), Some(&Framework::new("OWN", 2555)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frameworks {
    by_name: BTreeMap<String, Framework>,
}

impl Default for Frameworks {
    /// SOX, `PCI_DSS`, GDPR and HIPAA, all enabled.
    fn default() -> Self {
        [Framework::sox(), Framework::pci_dss(), Framework::gdpr(), Framework::hipaa()].into_iter().collect()
    }
}

impl Frameworks {
    /// No frameworks at all.
    pub const fn none() -> Self {
        Self { by_name: BTreeMap::new() }
    }

    /// The framework of this name, enabled or not.
    pub fn get(&self, name: &str) -> Option<&Framework> {
        self.by_name.get(&normalise(name))
    }

    /// Adds a framework and brings its name into the usual form. Returns the one of the same name that it replaces.
    pub fn insert(&mut self, mut framework: Framework) -> Option<Framework> {
        framework.name = normalise(&framework.name);
        self.by_name.insert(framework.name.clone(), framework)
    }

    /// All of them, enabled or not, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Framework> {
        self.by_name.values()
    }

    /// Those that apply, in the order of their names.
    pub fn enabled(&self) -> impl Iterator<Item = &Framework> {
        self.iter().filter(|framework| framework.enabled)
    }

    /// Of these names those that apply, each once and in its usual form. One that isn't here applies.
    pub fn applying<S: AsRef<str>>(&self, names: impl IntoIterator<Item = S>) -> Vec<String> {
        let mut applying: Vec<String> = Vec::new();
        for name in names {
            let name = normalise(name.as_ref());
            let disabled = self.by_name.get(&name).is_some_and(|framework| !framework.enabled);
            if !disabled && !applying.contains(&name) {
                applying.push(name);
            }
        }
        applying
    }

    /// The framework of this name for a change of its values; added with what is known about it if it isn't there.
    pub(crate) fn entry(&mut self, name: &str) -> &mut Framework {
        self.by_name.entry(normalise(name)).or_insert_with_key(|name| Framework::named(name))
    }

    /// Enables these and disables all others.
    pub(crate) fn enable_only<S: AsRef<str>>(&mut self, names: impl IntoIterator<Item = S>) {
        self.by_name.values_mut().for_each(|framework| framework.enabled = false);
        for name in names {
            self.entry(name.as_ref()).enabled = true;
        }
    }
}

impl FromIterator<Framework> for Frameworks {
    /// Of two with the same name, the later counts.
    fn from_iter<I: IntoIterator<Item = Framework>>(frameworks: I) -> Self {
        let mut all = Self::none();
        all.extend(frameworks);
        all
    }
}

impl Extend<Framework> for Frameworks {
    fn extend<I: IntoIterator<Item = Framework>>(&mut self, frameworks: I) {
        for framework in frameworks {
            self.insert(framework);
        }
    }
}

/// The values of a framework as they are written; what is left out keeps its default.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    enabled: Option<bool>,
    retention_days: Option<u32>,
    audit_required: Option<bool>,
}

impl Terms {
    fn apply(self, framework: &mut Framework) {
        framework.enabled = self.enabled.unwrap_or(framework.enabled);
        framework.retention_days = self.retention_days.unwrap_or(framework.retention_days);
        framework.audit_required = self.audit_required.unwrap_or(framework.audit_required);
    }
}

impl<'de> Deserialize<'de> for Framework {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            name: String,
            enabled: Option<bool>,
            retention_days: Option<u32>,
            audit_required: Option<bool>,
        }
        let Named { name, enabled, retention_days, audit_required } = Named::deserialize(deserializer)?;
        let mut framework = Self::named(&name);
        Terms { enabled, retention_days, audit_required }.apply(&mut framework);
        Ok(framework)
    }
}

impl Serialize for Frameworks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.by_name.iter().map(|(name, framework)| {
            let Framework { name: _, enabled, retention_days, audit_required } = *framework;
            let terms = Terms {
                enabled: Some(enabled),
                retention_days: Some(retention_days),
                audit_required: Some(audit_required),
            };
            (name, terms)
        }))
    }
}

impl<'de> Deserialize<'de> for Frameworks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut by_name = BTreeMap::new();
        for (name, terms) in BTreeMap::<String, Terms>::deserialize(deserializer)? {
            let mut framework = Framework::named(&name);
            terms.apply(&mut framework);
            match by_name.entry(framework.name.clone()) {
                Entry::Vacant(free) => free.insert(framework),
                Entry::Occupied(_) => {
                    return Err(D::Error::custom(format_args!(
                        "the framework `{}` stands here twice",
                        framework.name
                    )));
                }
            };
        }
        Ok(Self { by_name })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn r8_the_four_known_ones() {
        let known: Vec<_> = Frameworks::default().iter().cloned().collect();
        let days: Vec<_> = known.iter().map(|known| (known.name.as_str(), known.retention_days)).collect();
        assert_eq!(days, [("GDPR", 2555), ("HIPAA", 2555), ("PCI_DSS", 1095), ("SOX", 2555)]);
        assert!(known.iter().all(|known| known.enabled && known.audit_required));
    }

    #[test]
    fn r8_names_have_one_form() {
        let mut frameworks = Frameworks::none();
        assert_eq!(frameworks.insert(Framework::pci_dss()), None);
        let mut other = Framework::new("pci dss", 1);
        other.name = " pci-dss ".to_owned();
        other.enabled = false;
        assert_eq!(frameworks.insert(other), Some(Framework::pci_dss()));
        assert_eq!(frameworks.get("Pci-Dss").map(|found| found.name.as_str()), Some("PCI_DSS"));
        assert_eq!((frameworks.iter().count(), frameworks.enabled().count()), (1, 0));
        frameworks.enable_only(["sox", "own"]);
        let names: Vec<_> = frameworks.enabled().map(|framework| framework.name.as_str()).collect();
        assert_eq!(names, ["OWN", "SOX"]);
    }

    #[test]
    fn r8_what_is_disabled_does_not_apply() {
        let mut frameworks = Frameworks::default();
        frameworks.entry("pci-dss").enabled = false;
        let names = ["sox", "PCI DSS", "SOX", "own rules", "gdpr"];
        assert_eq!(frameworks.applying(names), ["SOX", "OWN_RULES", "GDPR"]);
        assert_eq!(Frameworks::none().applying(names), ["SOX", "PCI_DSS", "OWN_RULES", "GDPR"]);
    }

    #[test]
    fn r8_written_as_a_table_and_read_back() {
        let frameworks: Frameworks = [Framework::new("own", 30)].into_iter().collect();
        let written = serde_json::to_value(&frameworks).unwrap();
        assert_eq!(written, json!({"OWN": {"enabled": true, "retention_days": 30, "audit_required": true}}));
        assert_eq!(serde_json::from_value::<Frameworks>(written).unwrap(), frameworks);
        let one = serde_json::to_value(Framework::sox()).unwrap();
        assert_eq!(serde_json::from_value::<Framework>(one).unwrap(), Framework::sox());
        assert_eq!(
            serde_json::from_value::<Framework>(json!({"name": "pci-dss"})).unwrap(),
            Framework::pci_dss()
        );
        assert_eq!(toml::from_str::<Frameworks>("[SOX]").unwrap(), [Framework::sox()].into_iter().collect());
    }

    #[test]
    fn r8_wrong_tables_are_refused() {
        for wrong in [
            json!({"sox": {}, "SOX": {}}),
            json!({"sox": {"days": 1}}),
            json!({"sox": {"retention_days": -1}}),
        ] {
            assert!(serde_json::from_value::<Frameworks>(wrong).is_err());
        }
    }
}
