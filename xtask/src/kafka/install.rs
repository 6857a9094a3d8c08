//! The jars of a release: resolved once by Maven, kept in the user's cache.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::tail;
use super::{KafkaError, KafkaRelease};
use crate::workspace;

const MINIMUM_JAVA: u32 = 17;

/// Where a release's jars are.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    /// The exact version of the broker.
    pub(crate) version: String,
    dir: PathBuf,
}

impl Installation {
    /// The jars of the broker and the storage tool, as a Java class path.
    pub(crate) fn broker_class_path(&self) -> String {
        format!("{}/*", self.dir.join("broker").display())
    }

    /// The jars of the command-line tools, as a Java class path. Up to 3.9 some of them are among
    /// the broker's jars, which are of the same release there.
    pub(crate) fn tools_class_path(&self) -> String {
        let tools = format!("{}/*", self.dir.join("tools").display());
        if self.version.starts_with("3.") { format!("{tools}:{}", self.broker_class_path()) } else { tools }
    }

    /// Finds an installation that [`install`] made earlier.
    pub(crate) fn open(version: &str) -> Self {
        Self { version: version.to_owned(), dir: cache_root().join(format!("kafka-{version}")) }
    }
}

/// Resolves the release if the cache lacks it.
pub(crate) fn install(release: &KafkaRelease) -> Result<Installation, KafkaError> {
    check_java()?;
    let version = exact_version(release)?;
    let installation = Installation::open(&version);
    resolve_once(&installation.dir, &version, |staging| {
        let mut parts = ["broker", "tools"].into_iter();
        parts.try_for_each(|part| copy_dependencies(release, &version, part, &staging.join(part)))
    })?;
    Ok(installation)
}

/// The folder with the jars of all of Kafka's programs, resolved if the cache lacks them.
pub(crate) fn install_programs() -> Result<PathBuf, KafkaError> {
    check_java()?;
    let release = KafkaRelease::Newest4;
    let version = version_in_pom(&release, "kafka.tools.version")?;
    let dir = cache_root().join(format!("kafka-programs-{version}"));
    resolve_once(&dir, &version, |staging| copy_dependencies(&release, &version, "programs", staging))?;
    Ok(dir)
}

fn resolve_once(
    dir: &Path,
    version: &str,
    resolve: impl FnOnce(&Path) -> Result<(), KafkaError>,
) -> Result<(), KafkaError> {
    if dir.exists() {
        return Ok(());
    }
    let cache = cache_root();
    std::fs::create_dir_all(&cache).map_err(KafkaError::io("creating", &cache))?;
    // Test processes start together: one resolves, the others wait for it.
    let lock_path = beside(dir, "lock");
    let lock = File::create(&lock_path).map_err(KafkaError::io("creating", &lock_path))?;
    lock.lock().map_err(KafkaError::io("locking", &lock_path))?;
    if dir.exists() {
        return Ok(());
    }
    eprintln!("resolving Apache Kafka {version} with Maven (once)");
    let staging = beside(dir, "partial");
    // Left over from an interrupted run; absent otherwise.
    std::fs::remove_dir_all(&staging).or_else(absent_is_fine("removing", &staging))?;
    resolve(&staging)?;
    std::fs::rename(&staging, dir).map_err(KafkaError::io("renaming", &staging))
}

/// `dir` with a suffix; its own dots belong to a version.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn copy_dependencies(release: &KafkaRelease, version: &str, part: &str, target: &Path) -> Result<(), KafkaError> {
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-ntp", "-f"]).arg(pom_path());
    maven.arg(format!("-P{},{part}", release.maven_profile()));
    if matches!(release, KafkaRelease::Exact(_)) {
        maven.arg(format!("-Dkafka.version={version}"));
        maven.arg(format!("-Dkafka.tools.version={version}"));
    }
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", target.display()));
    let output = maven.stdin(Stdio::null()).output().map_err(|error| missing_maven(&error))?;
    if output.status.success() && target.exists() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let useful: String = printed.lines().filter(|line| line.contains("ERROR")).take(3).collect::<Vec<_>>().join("\n");
    Err(KafkaError::Unresolved { version: version.to_owned(), output: useful })
}

fn missing_maven(error: &std::io::Error) -> KafkaError {
    KafkaError::MissingProgram {
        program: "mvn",
        detail: error.to_string(),
        install: "Maven 3.6 or later (Debian: maven)",
    }
}

fn check_java() -> Result<(), KafkaError> {
    let missing = |detail: String| KafkaError::MissingProgram {
        program: "java",
        detail,
        install: "a Java runtime 17 or later (Debian: openjdk-17-jre-headless)",
    };
    let output = Command::new("java")
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    match java_major(&text) {
        Some(major) if major >= MINIMUM_JAVA => Ok(()),
        Some(major) => Err(missing(format!("it is version {major}"))),
        None => Err(missing(tail(&text, 2))),
    }
}

/// The major version in `java -version`'s first line: `17.0.15` is 17 and `1.8.0_402` is 1.
fn java_major(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    quoted.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The version a release line stands for is written in the POM and nowhere else.
fn exact_version(release: &KafkaRelease) -> Result<String, KafkaError> {
    version_in_pom(release, "kafka.version")
}

fn version_in_pom(release: &KafkaRelease, property: &str) -> Result<String, KafkaError> {
    let path = pom_path();
    let pom = std::fs::read_to_string(&path).map_err(KafkaError::io("reading", &path))?;
    let section = match release {
        KafkaRelease::Exact(version) => return Ok(version.clone()),
        KafkaRelease::Newest4 => pom.as_str(),
        KafkaRelease::Line39 => pom.split_once("<id>kafka-3.9</id>").map_or("", |(_, rest)| rest),
    };
    let version = section
        .split_once(&format!("<{property}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{property}>")))
        .map(|(version, _)| version.trim().to_owned());
    version.ok_or_else(|| KafkaError::BadOptions {
        reason: format!("{} names no {property} for {release:?}", path.display()),
    })
}

fn pom_path() -> PathBuf {
    workspace::root().join("deploy/kafka/pom.xml")
}

/// Holds only what can be rebuilt, hence the user's cache and not the work tree.
fn cache_root() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    base.join("lumenbus")
}

/// Turns "not found" into success.
pub(crate) fn absent_is_fine(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> Result<(), KafkaError> {
    let to_error = KafkaError::io(action, path);
    move |error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(to_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_versions_parse() {
        let check = |text: &str, expected| assert_eq!(java_major(text), expected, "{text}");
        check("openjdk version \"17.0.15\" 2025-04-15", Some(17));
        check("openjdk version \"21\" 2023-09-19", Some(21));
        check("java version \"1.8.0_402\"", Some(1));
        check("command not found", None);
    }

    #[test]
    fn the_pom_names_a_version_for_each_line() {
        assert!(exact_version(&KafkaRelease::Newest4).unwrap().starts_with("4."));
        assert!(exact_version(&KafkaRelease::Line39).unwrap().starts_with("3.9."));
    }
}
