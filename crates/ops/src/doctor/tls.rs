//! What a broker's TLS negotiates, and its certificate.
//!
//! The same CA, certificate and key are used as librdkafka gets. Nothing is sent: a password never reaches a server
//! that was not verified.

use super::Finding;
use lumenbus_bus::BusConfig;
use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::{X509, X509NameRef, X509Ref, X509VerifyResult};
use std::fs;
use std::net::TcpStream;
use std::path::Path;

/// Certificates that end within this many days want to be renewed.
const SOON_DAYS: i32 = 30;
/// Where systems keep the CAs that they trust; librdkafka looks in the same places.
pub(crate) const SYSTEM_CAS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Makes a handshake and judges it; the session can be spoken over only where the server was verified.
pub(super) fn examine(bus: &BusConfig, host: &str, stream: TcpStream) -> (Vec<Finding>, Option<SslStream<TcpStream>>) {
    let context = match context(bus) {
        Ok(context) => context,
        Err(finding) => return (vec![*finding], None),
    };
    let session = Ssl::new(&context).and_then(|ssl| prepare(ssl, bus, host));
    let session = match session
        .map_err(|error| error.to_string())
        .and_then(|ssl| ssl.connect(stream).map_err(|error| error.to_string()))
    {
        Ok(session) => session,
        Err(error) => {
            let finding = Finding::error("tls.handshake", format!("the TLS handshake with {host} failed: {error}"));
            let remedy =
                "compare protocol versions, ciphers and, where the broker asks for one, the client certificate";
            return (vec![finding.remedy(remedy)], None);
        }
    };
    let mut findings = vec![negotiated(session.ssl())];
    let verified = session.ssl().verify_result();
    findings.push(trust(bus, host, verified));
    if let Some(certificate) = session.ssl().peer_certificate() {
        findings.extend(certificate_findings(host, &certificate));
    }
    let is_trusted = verified == X509VerifyResult::OK;
    (findings, is_trusted.then_some(session))
}

fn prepare(mut ssl: Ssl, bus: &BusConfig, host: &str) -> Result<Ssl, ErrorStack> {
    let is_address = host.parse::<std::net::IpAddr>();
    if is_address.is_err() {
        ssl.set_hostname(host)?;
    }
    if checks_names(bus) {
        match is_address {
            Ok(address) => ssl.param_mut().set_ip(address)?,
            Err(_) => ssl.param_mut().set_host(host)?,
        }
    }
    Ok(ssl)
}

fn property<'a>(bus: &'a BusConfig, name: &str) -> Option<&'a str> {
    bus.properties.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn checks_names(bus: &BusConfig) -> bool {
    property(bus, "ssl.endpoint.identification.algorithm") != Some("none")
}

fn checks_certificates(bus: &BusConfig) -> bool {
    property(bus, "enable.ssl.certificate.verification") != Some("false")
}

/// As librdkafka would set it up; what cannot be read is the finding.
fn context(bus: &BusConfig) -> Result<SslContext, Box<Finding>> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client()).map_err(|error| unusable("TLS", &error))?;
    // The handshake is completed in any case, to see what the server has; what is wrong with it is judged after it.
    builder.set_verify(SslVerifyMode::NONE);
    add_authorities(&mut builder, bus)?;
    add_own_certificate(&mut builder, bus)?;
    Ok(builder.build())
}

fn unusable(what: &str, why: &dyn std::fmt::Display) -> Box<Finding> {
    let finding = Finding::error("tls.files", format!("{what} cannot be used: {why}"));
    Box::new(finding.remedy("check the path, the permissions and that the file is PEM (keystores: PKCS #12)"))
}

fn add_authorities(builder: &mut SslContextBuilder, bus: &BusConfig) -> Result<(), Box<Finding>> {
    if let Some(pem) = property(bus, "ssl.ca.pem") {
        let authorities = X509::stack_from_pem(pem.as_bytes()).map_err(|error| unusable("ssl.ca.pem", &error))?;
        for authority in authorities {
            builder.cert_store_mut().add_cert(authority).map_err(|error| unusable("ssl.ca.pem", &error))?;
        }
        return Ok(());
    }
    let named = property(bus, "ssl.ca.location").filter(|path| *path != "probe");
    let path = named.or_else(|| SYSTEM_CAS.into_iter().find(|path| Path::new(path).exists()));
    let Some(path) = path else { return Ok(()) };
    let loaded = if Path::new(path).is_dir() {
        builder.load_verify_locations(None, Some(Path::new(path)))
    } else {
        builder.set_ca_file(path)
    };
    loaded.map_err(|error| unusable(&format!("ssl.ca.location={path}"), &error))
}

fn add_own_certificate(builder: &mut SslContextBuilder, bus: &BusConfig) -> Result<(), Box<Finding>> {
    let password = property(bus, "ssl.key.password").unwrap_or_default();
    if let Some(path) = property(bus, "ssl.keystore.location") {
        let bytes = fs::read(path).map_err(|error| unusable(&format!("ssl.keystore.location={path}"), &error))?;
        let store = Pkcs12::from_der(&bytes)
            .and_then(|store| store.parse2(property(bus, "ssl.keystore.password").unwrap_or_default()));
        let store = store.map_err(|error| unusable(&format!("ssl.keystore.location={path}"), &error))?;
        if let (Some(certificate), Some(key)) = (store.cert, store.pkey) {
            let used = builder.set_certificate(&certificate).and_then(|()| builder.set_private_key(&key));
            used.map_err(|error| unusable(&format!("ssl.keystore.location={path}"), &error))?;
        }
        return Ok(());
    }
    if let Some(path) = property(bus, "ssl.certificate.location") {
        let what = format!("ssl.certificate.location={path}");
        builder.set_certificate_chain_file(path).map_err(|error| unusable(&what, &error))?;
    }
    if let Some(path) = property(bus, "ssl.key.location") {
        let what = format!("ssl.key.location={path}");
        let pem = fs::read(path).map_err(|error| unusable(&what, &error))?;
        let key = PKey::private_key_from_pem_passphrase(&pem, password.as_bytes());
        let used = key.and_then(|key| builder.set_private_key(&key));
        used.map_err(|error| unusable(&what, &error))?;
    }
    Ok(())
}

fn negotiated(ssl: &openssl::ssl::SslRef) -> Finding {
    let version = ssl.version_str();
    let cipher = ssl.current_cipher().map_or("no cipher", |cipher| cipher.name());
    let what = format!("{version} with {cipher} was negotiated");
    if matches!(version, "TLSv1.3" | "TLSv1.2") {
        return Finding::ok("tls.version", what);
    }
    Finding::warning("tls.version", what)
        .because("versions before TLS 1.2 are broken")
        .remedy("set ssl.enabled.protocols=TLSv1.3,TLSv1.2 at the broker")
}

fn trust(bus: &BusConfig, host: &str, verified: X509VerifyResult) -> Finding {
    if verified != X509VerifyResult::OK {
        let finding = Finding::error("tls.trust", format!("the certificate of {host} is not trusted: {verified}"));
        return finding.remedy(
            "name the CA that issued it with -X ssl.ca.location=FILE.pem, and connect by a name that is in the certificate",
        );
    }
    if !checks_certificates(bus) || !checks_names(bus) {
        return Finding::warning("tls.trust", "the broker's certificate is good, but the client does not insist on it")
            .because("enable.ssl.certificate.verification=false or ssl.endpoint.identification.algorithm=none: somebody in between would not be noticed")
            .remedy("leave out both properties");
    }
    Finding::ok("tls.trust", format!("the certificate of {host} is trusted, and it is for that name"))
}

fn certificate_findings(host: &str, certificate: &X509Ref) -> Option<Finding> {
    let (subject, issuer) = (name(certificate.subject_name()), name(certificate.issuer_name()));
    let until = certificate.not_after();
    let days = Asn1Time::days_from_now(0).and_then(|now| now.diff(until)).ok()?.days;
    let names: Vec<String> = certificate
        .subject_alt_names()
        .into_iter()
        .flatten()
        .filter_map(|name| name.dnsname().map(str::to_owned).or_else(|| name.ipaddress().and_then(address)))
        .take(8)
        .collect();
    let names = if names.is_empty() { String::new() } else { format!(" for {}", names.join(", ")) };
    let what =
        format!("certificate of {host}: {subject}{names}, issued by {issuer}, valid until {until} ({days} days)");
    Some(match days {
        days if days < 0 => Finding::error("tls.expiry", what).remedy("renew the broker's certificate now"),
        days if days < SOON_DAYS => Finding::warning("tls.expiry", what)
            .because("when it ends, every client stops")
            .remedy("renew the broker's certificate"),
        _ => Finding::ok("tls.expiry", what),
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| std::net::Ipv6Addr::from(sixteen).to_string())
}

/// `CN=kafka-1, O=Example`; harmless on a terminal.
fn name(name: &X509NameRef) -> String {
    let entry = |entry: &openssl::x509::X509NameEntryRef| {
        let text = entry.data().to_string().unwrap_or_default();
        let kind = entry.object().nid();
        let kind = if kind == Nid::COMMONNAME { "CN" } else { kind.short_name().unwrap_or("?") };
        format!("{kind}={}", text.chars().filter(|c| !c.is_control()).take(100).collect::<String>())
    };
    let entries: Vec<_> = name.entries().map(entry).collect();
    if entries.is_empty() { "without a name".to_owned() } else { entries.join(", ") }
}
