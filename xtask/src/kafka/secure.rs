//! TLS, SCRAM and ACLs: certificates, users, and the properties both sides need.
//!
//! Brokers and controllers know each other by certificate (CN=broker), because SCRAM users live in
//! the metadata log and cannot carry the quorum that holds it. Clients use SASL_SSL with
//! SCRAM-SHA-256 or -512; librdkafka before 2.6 (older kcat packages) repeats the nonce in a way that
//! brokers from 3.7.2 on refuse as invalid credentials.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::KafkaError;
use super::error::tail;
use super::state::NodeState;

const STORE_PASSWORD: &str = "loopback-only";

/// The first letters of every topic the project makes.
const TOPIC_PREFIXES: [&str; 5] = ["raw_", "analysis_", "image_", "dicom_", "lumenbus."];
/// Consumer groups and transactions of the user with rights begin so.
const GROUP_PREFIX: &str = "lumenbus";

/// The users and files of a secured cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// The certificate authority as PEM: `ssl.ca.location`.
    pub ca_pem: PathBuf,
    /// Key and certificate of the brokers (PKCS #12).
    pub(crate) broker_store: PathBuf,
    /// A super user.
    pub admin: User,
    /// May use the project's topics (`raw_*`, `analysis_*`, `image_*`, `dicom_*`, `lumenbus.*`) and
    /// the groups and transactional ids `lumenbus*`.
    pub alice: User,
    /// Is known to the brokers and may do nothing.
    pub mallory: User,
}

/// A SCRAM user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// `sasl.username`.
    pub name: String,
    /// `sasl.password`; good on this machine's loopback only.
    pub password: String,
    /// A Java client's properties file for this user.
    pub client_properties: PathBuf,
    ca_pem: PathBuf,
}

impl User {
    /// The librdkafka properties (`-X name=value`) with which this user connects.
    #[must_use]
    pub fn librdkafka(&self) -> Vec<(String, String)> {
        [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", &self.name),
            ("sasl.password", &self.password),
            ("ssl.ca.location", &self.ca_pem.to_string_lossy()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn java(&self) -> String {
        format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-256\n\
             sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
             username=\"{}\" password=\"{}\";\n\
             ssl.truststore.type=PEM\nssl.truststore.location={}\n",
            self.name,
            self.password,
            self.ca_pem.display()
        )
    }
}

impl Credentials {
    /// Makes the certificates and writes one properties file per user.
    pub(crate) fn create(dir: &Path) -> Result<Self, KafkaError> {
        let dir = dir.join("secrets");
        std::fs::create_dir_all(&dir).map_err(KafkaError::io("creating", &dir))?;
        let ca_pem = dir.join("ca.pem");
        let broker_store = dir.join("broker.p12");
        make_certificates(&broker_store, &ca_pem)?;
        let user = |name: &str| -> Result<User, KafkaError> {
            let user = User {
                name: name.to_owned(),
                password: format!("{name}-secret"),
                client_properties: dir.join(format!("{name}.properties")),
                ca_pem: ca_pem.clone(),
            };
            std::fs::write(&user.client_properties, user.java())
                .map_err(KafkaError::io("writing", &user.client_properties))?;
            Ok(user)
        };
        let (admin, alice, mallory) = (user("admin")?, user("alice")?, user("mallory")?);
        Ok(Self { ca_pem, broker_store, admin, alice, mallory })
    }

    /// The arguments that make the users known when a node is formatted.
    pub(crate) fn format_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for user in [&self.admin, &self.alice, &self.mallory] {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                arguments.push("--add-scram".to_owned());
                let (name, password) = (&user.name, &user.password);
                arguments.push(format!("{mechanism}=[name={name},password={password}]"));
            }
        }
        arguments
    }

    /// Two argument lists for AclCommand: the rights of alice on topics, and on groups and
    /// transactional ids. They are separate because an operation must fit every resource named.
    pub(crate) fn acl_arguments(&self) -> [Vec<String>; 2] {
        let mut topics = acl_start(&self.alice.name);
        for operation in ["Read", "Write", "Describe", "DescribeConfigs", "Create", "AlterConfigs"] {
            topics.extend(["--operation".to_owned(), operation.to_owned()]);
        }
        for prefix in TOPIC_PREFIXES {
            topics.extend(["--topic".to_owned(), prefix.to_owned()]);
        }
        let mut groups = acl_start(&self.alice.name);
        groups.extend(
            ["--operation", "All", "--group", GROUP_PREFIX, "--transactional-id", GROUP_PREFIX].map(str::to_owned),
        );
        [topics, groups]
    }
}

fn acl_start(user: &str) -> Vec<String> {
    let principal = format!("User:{user}");
    ["--add", "--allow-principal", &principal, "--resource-pattern-type", "prefixed"].map(str::to_owned).into()
}

/// The broker's side.
pub(crate) fn broker_properties(credentials: &Credentials, node: &NodeState) -> Vec<(String, String)> {
    let listeners = format!(
        "CLIENT://127.0.0.1:{},BROKER://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
        node.client_port, node.broker_port, node.controller_port
    );
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    [
        ("listeners", listeners.as_str()),
        ("advertised.listeners", &listeners),
        ("inter.broker.listener.name", "BROKER"),
        ("listener.security.protocol.map", "CLIENT:SASL_SSL,BROKER:SSL,CONTROLLER:SSL"),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512"),
        ("listener.name.client.scram-sha-256.sasl.jaas.config", scram),
        ("listener.name.client.scram-sha-512.sasl.jaas.config", scram),
        ("ssl.keystore.type", "PKCS12"),
        ("ssl.keystore.location", &credentials.broker_store.to_string_lossy()),
        ("ssl.keystore.password", STORE_PASSWORD),
        ("ssl.key.password", STORE_PASSWORD),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", &credentials.ca_pem.to_string_lossy()),
        ("listener.name.broker.ssl.client.auth", "required"),
        ("listener.name.controller.ssl.client.auth", "required"),
        ("ssl.principal.mapping.rules", "RULE:^CN=([^,]+).*$/$1/,DEFAULT"),
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("super.users", "User:broker;User:admin"),
        ("allow.everyone.if.no.acl.found", "false"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// An authority and a broker certificate signed by it, with keytool, because it comes with Java.
fn make_certificates(store: &Path, ca_pem: &Path) -> Result<(), KafkaError> {
    let pair = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650"];
    let authority = ["-alias", "ca", "-dname", "CN=lumenbus test CA", "-ext", "bc:c=ca:true"];
    keytool(store, &[&pair[..], &authority[..], &["-ext", "ku:c=keyCertSign,cRLSign"]].concat())?;
    let pem = ca_pem.to_string_lossy();
    keytool(store, &["-exportcert", "-rfc", "-alias", "ca", "-file", &pem])?;
    let broker = ["-alias", "broker", "-dname", "CN=broker", "-signer", "ca"];
    let names = ["-ext", "san=ip:127.0.0.1,dns:localhost"];
    keytool(store, &[&pair[..], &broker[..], &names[..]].concat())?;
    // The broker has no business with the authority's key.
    keytool(store, &["-delete", "-alias", "ca"])
}

fn keytool(store: &Path, arguments: &[&str]) -> Result<(), KafkaError> {
    let output = Command::new("keytool")
        .arg("-J-XX:TieredStopAtLevel=1")
        .args(arguments)
        .args(["-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-keystore"])
        .arg(store)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| KafkaError::MissingProgram {
            program: "keytool",
            detail: error.to_string(),
            install: "a Java runtime 17 or later (Debian: openjdk-17-jre-headless)",
        })?;
    if output.status.success() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let program = format!("keytool {}", arguments.first().copied().unwrap_or_default());
    Err(KafkaError::Tool { program, output: tail(&printed, 5) })
}
