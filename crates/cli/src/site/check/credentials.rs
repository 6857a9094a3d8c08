//! Who asks a camera on the network: its secret is never in the settings file itself.

use super::Check;
use crate::credentials::password_in;
use crate::site::file::Camera;
use lumenbus_source::Credentials;
use toml::Spanned;

impl Check<'_> {
    /// `username` with `password_file` or `password_env`.
    pub(super) fn credentials(&mut self, camera: &Camera) -> Option<Credentials> {
        let (file, variable) = (camera.password_file.as_ref(), camera.password_env.as_ref());
        let Some(username) = &camera.username else {
            if let Some(place) = file.or(variable) {
                self.note(place, Err::<(), _>("a password needs its user; write username = \"…\" beside it"));
            }
            return None;
        };
        let password = match (file, variable) {
            (Some(place), Some(_)) => self.note(place, Err("write either password_file or password_env".to_owned())),
            (Some(file), None) => {
                let read = password_in(&self.path(file.get_ref()));
                self.note(file, read.map_err(|error| format!("{error:#}")))
            }
            (None, Some(variable)) => self.note(variable, from_environment(variable)),
            (None, None) => Some(String::new()),
        };
        Some(Credentials { username: username.get_ref().clone(), password: password? })
    }
}

fn from_environment(variable: &Spanned<String>) -> Result<String, String> {
    let name = variable.get_ref();
    std::env::var(name).map_err(|_| format!("the environment has no variable {name:?}; set it, or use password_file"))
}
