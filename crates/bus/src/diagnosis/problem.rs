//! What can be wrong with a broker.

use std::io;

/// Why no broker can be used; each kind has a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerProblem {
    /// The list of bootstrap servers is not `host:port,…`.
    #[error("{brokers:?} is no list of brokers; write --brokers HOST:PORT[,HOST:PORT…]")]
    BadAddress {
        /// As given.
        brokers: String,
    },
    /// Nobody listens there.
    #[error("no broker at {address}; start one with `lumenbus broker --data DIR` or pass --brokers")]
    NoBroker {
        /// `host:port`
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The name means nothing to the resolver.
    #[error("the host name of {address} cannot be resolved; check --brokers, DNS and /etc/hosts")]
    UnknownHost {
        /// `host:port`
        address: String,
        /// What the resolver says.
        #[source]
        source: io::Error,
    },
    /// Something else listens there.
    #[error("{address} is not a Kafka broker: {found}; is the port right?")]
    NotKafka {
        /// `host:port`
        address: String,
        /// What it did instead.
        found: String,
    },
    /// It takes the connection and never says a word.
    #[error(
        "{address} accepts connections but has not answered for {millis} ms: not a Kafka broker, or a broker that hangs; \
         is the port right?"
    )]
    Silent {
        /// `host:port`
        address: String,
        /// How long was waited, in milliseconds.
        millis: u64,
    },
    /// We speak plain text, it speaks TLS.
    #[error(
        "{address} speaks TLS, this client does not; pass -X security.protocol=SSL, or SASL_SSL when it asks for a login"
    )]
    TlsExpected {
        /// `host:port`
        address: String,
    },
    /// We speak TLS, it speaks plain text.
    #[error(
        "{address} does not speak TLS, and security.protocol asks for it; use the broker's TLS port, or \
         -X security.protocol=PLAINTEXT (SASL_PLAINTEXT with a login)"
    )]
    TlsUnexpected {
        /// `host:port`
        address: String,
    },
    /// The certificate's issuer is unknown here.
    #[error(
        "the certificate of {brokers} is not trusted; name the CA that issued it with -X ssl.ca.location=FILE.pem \
         ({reason})"
    )]
    CertificateNotTrusted {
        /// Bootstrap servers.
        brokers: String,
        /// What OpenSSL says.
        reason: String,
    },
    /// The certificate is good, for another host.
    #[error(
        "the certificate of {brokers} was issued for another host name; use the name that is in it, or have the address \
         added to it (subjectAltName)"
    )]
    CertificateOfAnotherHost {
        /// Bootstrap servers.
        brokers: String,
    },
    /// The broker asks for a certificate of ours.
    #[error(
        "{brokers} asks for a client certificate; pass -X ssl.certificate.location=FILE.pem -X ssl.key.location=FILE.pem \
         ({reason})"
    )]
    ClientCertificateRequired {
        /// Bootstrap servers.
        brokers: String,
        /// What OpenSSL says.
        reason: String,
    },
    /// TLS fails in another way.
    #[error("the TLS handshake with {brokers} failed: {reason}")]
    Tls {
        /// Bootstrap servers.
        brokers: String,
        /// What OpenSSL says.
        reason: String,
    },
    /// The broker wants a login and got none.
    #[error(
        "{brokers} asks for a login (SASL); pass -X security.protocol=SASL_SSL (or SASL_PLAINTEXT), \
         -X sasl.mechanism=SCRAM-SHA-256 and the user and password in a file with --kafka-config"
    )]
    LoginRequired {
        /// Bootstrap servers.
        brokers: String,
    },
    /// The login was refused.
    #[error("{brokers} refuses the login: {reason}; check sasl.username, sasl.password and sasl.mechanism")]
    LoginRefused {
        /// Bootstrap servers.
        brokers: String,
        /// What the broker says.
        reason: String,
    },
    /// The bootstrap server works; where it sends clients, nobody can be reached.
    #[error(
        "{brokers} answers, but none of the addresses it gives to clients can be reached ({advertised}); \
         mend advertised.listeners of the broker, or the network to them"
    )]
    AdvertisedUnreachable {
        /// Bootstrap servers.
        brokers: String,
        /// The addresses that it gives.
        advertised: String,
    },
    /// No metadata in time.
    #[error("{brokers} did not answer within {millis} ms: {reason}")]
    NoAnswer {
        /// Bootstrap servers.
        brokers: String,
        /// What librdkafka says.
        reason: String,
        /// How long was waited, in milliseconds.
        millis: u64,
    },
    /// A property that librdkafka does not take.
    #[error("the Kafka properties cannot be used: {reason}; see -X and --kafka-config")]
    Properties {
        /// What librdkafka says, without the value.
        reason: String,
    },
}

impl BrokerProblem {
    /// The stable code that the reference explains.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoBroker { .. } => "LB-E0101",
            Self::UnknownHost { .. } => "LB-E0102",
            Self::NotKafka { .. } => "LB-E0103",
            Self::Silent { .. } => "LB-E0104",
            Self::TlsExpected { .. } => "LB-E0105",
            Self::TlsUnexpected { .. } => "LB-E0106",
            Self::CertificateNotTrusted { .. } => "LB-E0107",
            Self::CertificateOfAnotherHost { .. } => "LB-E0108",
            Self::ClientCertificateRequired { .. } => "LB-E0109",
            Self::Tls { .. } => "LB-E0110",
            Self::LoginRequired { .. } => "LB-E0111",
            Self::LoginRefused { .. } => "LB-E0112",
            Self::AdvertisedUnreachable { .. } => "LB-E0113",
            Self::NoAnswer { .. } => "LB-E0114",
            Self::BadAddress { .. } => "LB-E0115",
            Self::Properties { .. } => "LB-E0116",
        }
    }

    /// How much this tells compared with another server's problem: an answer tells more than none.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::NoBroker { .. } | Self::UnknownHost { .. } => 0,
            Self::Silent { .. } => 1,
            _ => 2,
        }
    }
}

/// What librdkafka's log lines and error texts mean; `None` when nothing is recognised.
pub(super) fn from_texts(texts: &[String], brokers: &str) -> Option<BrokerProblem> {
    texts.iter().find_map(|text| from_text(text, brokers.to_owned()))
}

/// Texts of librdkafka 2.x and OpenSSL 3.
fn from_text(text: &str, brokers: String) -> Option<BrokerProblem> {
    let lower = text.to_ascii_lowercase();
    let says = |part: &str| lower.contains(part);
    let reason = without_prefix(text);
    if says("certificate verify failed") {
        return Some(BrokerProblem::CertificateNotTrusted { brokers, reason });
    }
    if says("alert certificate required") || says("alert bad certificate") || says("alert unknown ca") {
        return Some(BrokerProblem::ClientCertificateRequired { brokers, reason });
    }
    if says("might require sasl authentication") {
        return Some(BrokerProblem::LoginRequired { brokers });
    }
    if says("sasl") && (says("fail") || says("invalid") || says("unsupported") || says("error")) {
        return Some(BrokerProblem::LoginRefused { brokers, reason });
    }
    says("ssl handshake failed").then_some(BrokerProblem::Tls { brokers, reason })
}

/// librdkafka begins with its thread and broker, `[thrd:…]: host:port/bootstrap: …`, and ends with `(after 3ms in …)`.
fn without_prefix(text: &str) -> String {
    let begin = text.rfind("bootstrap: ").map_or(0, |at| at + "bootstrap: ".len());
    let end = text.find(" (after ").filter(|end| *end > begin).unwrap_or(text.len());
    text[begin..end].chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: Option<&str>) {
        let found = from_texts(&[text.to_owned()], "b:9093");
        assert_eq!(found.as_ref().map(BrokerProblem::code), code, "{text}");
    }

    #[test]
    fn librdkafkas_texts_are_understood() {
        let at = "[thrd:ssl://b:9093/bootstrap]: ssl://b:9093/bootstrap: ";
        for (text, code) in [
            (
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could \
                 not be verified, verify that ssl.ca.location is correctly configured or root CA certificates are \
                 installed (after 5ms in state SSL_HANDSHAKE)",
                Some("LB-E0107"),
            ),
            ("SSL handshake failed: error:0A00045C:SSL routines::tlsv13 alert certificate required", Some("LB-E0109")),
            ("SSL handshake failed: error:0A000102:SSL routines::unsupported protocol", Some("LB-E0110")),
            (
                "SASL authentication error: Authentication failed during authentication due to invalid credentials",
                Some("LB-E0112"),
            ),
            (
                "Disconnected: verify that security.protocol is correctly configured, broker might require SASL authentication",
                Some("LB-E0111"),
            ),
            ("Connect to ipv4#127.0.0.1:9093 failed: Connection refused", None),
        ] {
            check(&format!("{at}{text}"), code);
        }
    }

    #[test]
    fn the_reason_is_what_the_broker_said() {
        let text = "sasl_plaintext://b:9093/bootstrap: SASL authentication error: wrong (after 3ms in state AUTH_REQ)";
        let problem = from_texts(&[text.to_owned()], "b:9093").unwrap().to_string();
        assert!(problem.contains("login: SASL authentication error: wrong; check"), "{problem}");
    }
}
