//! Sections of webhooks, as they are written and as they are meant.

use super::Check;
use crate::credentials::first_line;
use crate::detection::OptionError;
use crate::site::fault::Fault;
use crate::site::file::WebhookTable;
use crate::webhook::{WebhookOptions, name, timeout};
use lumenbus_bus::BusConfig;
use lumenbus_bus::subscriber::CameraFilter;
use lumenbus_ops::webhook::{EventFilter, KindPattern, Secret, Target};
use std::collections::HashMap;
use toml::Spanned;

impl Check<'_> {
    /// Those that shall run; each has a name and a group of its own.
    pub(super) fn webhooks(&mut self, sections: &[WebhookTable]) -> Vec<WebhookOptions> {
        let (mut names, mut groups) = (HashMap::<String, usize>::new(), HashMap::<String, usize>::new());
        let mut checked = Vec::new();
        for section in sections {
            let Some(options) = self.webhook(section) else { continue };
            let line = Fault::at(self.text, section.name.span().start, "").line;
            let of_group = groups.insert(options.group(), line);
            if let Some(first) = names.insert(options.name.clone(), line) {
                let twice = format!("the name {} is already that of line {first}; give this one another", options.name);
                self.note(&section.name, Err::<(), _>(twice));
            } else if let Some(first) = of_group {
                let twice =
                    format!("the group {} is already that of line {first}: they would share events", options.group());
                self.note(section.group.as_ref().unwrap_or(&section.name), Err::<(), _>(twice));
            }
            if section.enabled {
                checked.push(options);
            }
        }
        checked
    }

    fn webhook(&mut self, section: &WebhookTable) -> Option<WebhookOptions> {
        let name = self.note(&section.name, name(section.name.get_ref()));
        let target = self.target(section);
        let secret = self.secret(section);
        let cameras = CameraFilter::new(section.cameras.iter().map(Spanned::get_ref));
        let cameras = match section.cameras.first() {
            Some(place) => self.note(place, cameras),
            None => Some(CameraFilter::default()),
        };
        let kinds = section.kinds.iter().filter_map(|kind| self.parse::<KindPattern>(Some(kind))).collect();
        let timeout = self.quantity(section.timeout.as_ref(), timeout);
        let refusals = self.quantity(section.refusals.as_ref(), |text| {
            text.parse::<u32>().map_err(|_| "write a number; 0: an event is never passed over".to_owned())
        });
        let mut options = WebhookOptions::new(name?, target?);
        options.secret = secret;
        options.filter = EventFilter { cameras: cameras?, kinds };
        options.group = section.group.as_ref().map(|group| group.get_ref().clone());
        options.from = section.from.as_ref().map_or(options.from, |from| from.get_ref().clone());
        options.timeout = timeout.unwrap_or(options.timeout);
        options.refusals = refusals.unwrap_or(options.refusals);
        // As at the beginning of work; where the broker is has no part in it.
        if let Err(OptionError { option, why }) = options.config(BusConfig::new(String::new())) {
            let place = if option == "from" { section.from.as_ref() } else { section.group.as_ref() };
            self.note(place.unwrap_or(&section.name), Err::<(), _>(why));
        }
        Some(options)
    }

    /// `url` or `url_file`; neither is repeated in what is said of it.
    fn target(&mut self, section: &WebhookTable) -> Option<Target> {
        let ca_file = section.ca_file.as_ref().map(|file| self.path(file.get_ref()));
        let (place, address) = match (&section.url, &section.url_file) {
            (Some(url), None) => (url, url.get_ref().clone()),
            (None, Some(file)) => {
                let read = first_line(&self.path(file.get_ref()), "address");
                (file, self.note(file, read.map_err(|error| format!("{error:#}")))?)
            }
            (Some(place), Some(_)) => {
                self.note(place, Err::<(), _>("write either url or url_file"));
                return None;
            }
            (None, None) => {
                self.note(&section.name, Err::<(), _>("it goes nowhere; write url = \"https://…\" or url_file"));
                return None;
            }
        };
        let target = self.note(place, Target::new(&address, ca_file))?;
        if let Some(file) = &section.ca_file {
            self.note(file, target.check())?;
        }
        Some(target)
    }

    /// `secret_file` or `secret_env`.
    fn secret(&mut self, section: &WebhookTable) -> Option<Secret> {
        let (place, text) = match (&section.secret_file, &section.secret_env) {
            (None, None) => return None,
            (Some(place), Some(_)) => {
                self.note(place, Err::<(), _>("write either secret_file or secret_env"));
                return None;
            }
            (Some(file), None) => {
                let read = first_line(&self.path(file.get_ref()), "secret");
                (file, self.note(file, read.map_err(|error| format!("{error:#}")))?)
            }
            (None, Some(variable)) => {
                let name = variable.get_ref();
                let missing = |_| format!("the environment has no variable {name:?}; set it, or use secret_file");
                (variable, self.note(variable, std::env::var(name).map_err(missing))?)
            }
        };
        self.note(place, Secret::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Site;
    use std::path::Path;
    use std::time::Duration;

    fn parse(folder: &Path, text: &str) -> Result<Site, String> {
        Site::parse(&folder.join("lumenbus.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_is_what_the_options_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hook.secret"), "0123456789abcdef\nnote\n").unwrap();
        std::fs::write(folder.path().join("hook.url"), "https://hooks.example/T/token\n").unwrap();
        let site = parse(
            folder.path(),
            "[[webhook]]\nname = \"plain\"\nurl = \"http://127.0.0.1:1/x\"\n[[webhook]]\nname = \"guards\"\n\
             url_file = \"hook.url\"\nsecret_file = \"hook.secret\"\ncameras = [\"gate-*\"]\nkinds = [\"health:dark\", \"presence\"]\n\
             group = \"g\"\nfrom = \"start\"\ntimeout = \"2s\"\nrefusals = 0\n\
             [[webhook]]\nname = \"later\"\nurl = \"http://a/\"\nenabled = false\n",
        );
        let site = site.unwrap();
        let webhooks = &site.webhooks;
        assert_eq!(webhooks.len(), 2);
        let plain = Target::new("http://127.0.0.1:1/x", None).unwrap();
        assert_eq!(webhooks[0], WebhookOptions::new("plain".to_owned(), plain));
        assert_eq!(webhooks[0].group(), "webhook-plain");
        let guards = &webhooks[1];
        assert_eq!(guards.target, Target::new("https://hooks.example/T/token", None).unwrap());
        assert_eq!(guards.secret, Some(Secret::new("0123456789abcdef").unwrap()));
        assert_eq!((guards.group(), guards.from.as_str(), guards.refusals), ("g".to_owned(), "start", 0));
        assert_eq!((guards.timeout, guards.filter.kinds.len()), (Duration::from_secs(2), 2));
        assert!(guards.filter.cameras.matches("gate-7") && !guards.filter.cameras.matches("yard"));
        let told = format!("{site:?}");
        assert!(!told.contains("0123456789abcdef") && !told.contains("/T/"), "{told}");
    }

    #[test]
    fn every_fault_has_its_line_and_key_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("short"), "hunter2").unwrap();
        let with = |line: &str| format!("[[webhook]]\nname = \"a\"\nurl = \"http://a/\"\n{line}\n");
        for (text, expected) in [
            (with("kinds = [\"dark\"]"), "line 4: [[webhook]] kinds: unknown kind of event \"dark\""),
            (with("cameras = [\"a b\"]"), "line 4: [[webhook]] cameras: "),
            (with("timeout = \"2m\""), "line 4: [[webhook]] timeout: write a time from 100ms to 60s"),
            (with("refusals = -1"), "line 4: [[webhook]] refusals: "),
            (with("from = \"soon\""), "line 4: [[webhook]] from: "),
            (with("group = \"\""), "line 4: [[webhook]] group: a group has a name"),
            (with("ca_file = \"short\""), "line 4: [[webhook]] ca_file: cannot read certificates from "),
            (with("secret = \"hunter2\""), "unknown field `secret`"),
            (with("secret_file = \"short\""), "line 4: [[webhook]] secret_file: the secret has 7 bytes"),
            (with("secret_file = \"absent\""), "line 4: [[webhook]] secret_file: cannot read the secret file"),
            (with("secret_env = \"LUMENBUS_NO_SUCH\""), "line 4: [[webhook]] secret_env: the environment has no"),
            (with("secret_env = \"A\"\nsecret_file = \"b\""), "write either secret_file or secret_env"),
            (with("url_file = \"b\""), "line 3: [[webhook]] url: write either url or url_file"),
            ("[[webhook]]\nname = \"a\"\n".to_owned(), "line 2: [[webhook]] name: it goes nowhere"),
            (
                "[[webhook]]\nname = \"a b\"\nurl = \"http://a/\"\n".to_owned(),
                "line 2: [[webhook]] name: write 1 to 64",
            ),
            ("[[webhook]]\nname = \"a\"\nurl = \"http://me:hunter2@a/\"\n".to_owned(), "line 3: [[webhook]] url: "),
            (with("[[webhook]]\nname = \"a\"\nurl = \"http://b/\""), "line 5: [[webhook]] name: the name a is already"),
            (
                with("[[webhook]]\nname = \"b\"\nurl = \"http://b/\"\ngroup = \"webhook-a\""),
                "line 7: [[webhook]] group: the group webhook-a is already that of line 2",
            ),
        ] {
            let found = parse(folder.path(), &text).unwrap_err();
            assert!(found.contains(expected), "{expected:?} is not in:\n{found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }
}
