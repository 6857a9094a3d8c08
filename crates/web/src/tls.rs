//! HTTPS: certificates from files, or one of the viewer's own.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How long a certificate of the viewer's own is valid; browsers refuse more than 398 days.
const VALID_DAYS: u32 = 365;
/// A kept certificate is replaced when it is valid for less than this.
const RENEW_DAYS: u32 = 30;

/// Where key and certificate come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsConfig {
    /// Made by the viewer, and kept in this folder so that a browser's exception for it goes on working.
    SelfSigned {
        /// `None`: a new one at each start.
        folder: Option<PathBuf>,
    },
    /// PEM files.
    Files {
        /// Certificate, followed by the chain.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// Why HTTPS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM file that is missing, or is not what it should be.
    #[error("cannot use {} as the {what}: {source}; give PEM files with --https cert=FILE,key=FILE", path.display())]
    File {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What OpenSSL says.
        #[source]
        source: ErrorStack,
    },
    /// Certificate and key are not of one pair.
    #[error("the key {} does not belong to the certificate {}: {source}", key.display(), certificate.display())]
    Mismatch {
        /// Certificate file.
        certificate: PathBuf,
        /// Key file.
        key: PathBuf,
        /// What OpenSSL says.
        #[source]
        source: ErrorStack,
    },
    /// The certificate could not be made.
    #[error("cannot make a certificate: {source}")]
    Make {
        /// What OpenSSL says.
        #[from]
        source: ErrorStack,
    },
    /// The certificate could not be kept.
    #[error("cannot keep the viewer's certificate in {}: {source}", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What connections are accepted with.
pub(crate) struct Tls {
    pub(crate) acceptor: SslAcceptor,
    /// SHA-256 of the certificate, as browsers show it.
    pub(crate) fingerprint: String,
    pub(crate) is_self_signed: bool,
}

struct Pair {
    certificate: X509,
    key: PKey<Private>,
}

impl Tls {
    /// `address` and the machine's own name go into a certificate of the viewer's own.
    pub(crate) fn set_up(config: &TlsConfig, address: IpAddr) -> Result<Self, TlsError> {
        match config {
            TlsConfig::Files { certificate, key } => from_files(certificate, key),
            TlsConfig::SelfSigned { folder: None } => from_pair(&make(address)?),
            TlsConfig::SelfSigned { folder: Some(folder) } => from_pair(&kept(folder, address)?),
        }
    }
}

fn acceptor() -> Result<openssl::ssl::SslAcceptorBuilder, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_alpn_select_callback(|_, offered| {
        openssl::ssl::select_next_proto(b"\x08http/1.1", offered).ok_or(openssl::ssl::AlpnError::NOACK)
    });
    Ok(builder)
}

fn from_files(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
    let wrong = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { what, path, source }
    };
    let mut builder = acceptor()?;
    builder.set_certificate_chain_file(certificate).map_err(wrong("certificate", certificate))?;
    builder.set_private_key_file(key, openssl::ssl::SslFiletype::PEM).map_err(|source| {
        // OpenSSL compares the two while it reads the key.
        let is_key = fs::read(key).is_ok_and(|pem| PKey::private_key_from_pem(&pem).is_ok());
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        match is_key {
            true => TlsError::Mismatch { certificate, key, source },
            false => TlsError::File { what: "key", path: key, source },
        }
    })?;
    let acceptor = builder.build();
    let fingerprint = acceptor.context().certificate().map(fingerprint).transpose()?.unwrap_or_default();
    Ok(Tls { acceptor, fingerprint, is_self_signed: false })
}

fn from_pair(pair: &Pair) -> Result<Tls, TlsError> {
    let mut builder = acceptor()?;
    builder.set_certificate(&pair.certificate)?;
    builder.set_private_key(&pair.key)?;
    builder.check_private_key()?;
    Ok(Tls { acceptor: builder.build(), fingerprint: fingerprint(&pair.certificate)?, is_self_signed: true })
}

fn fingerprint(certificate: &openssl::x509::X509Ref) -> Result<String, ErrorStack> {
    let digest = certificate.digest(MessageDigest::sha256())?;
    Ok(digest.iter().enumerate().fold(String::new(), |mut text, (at, byte)| {
        let colon = if at == 0 { "" } else { ":" };
        // Writing to a string cannot fail.
        write!(text, "{colon}{byte:02X}").ok();
        text
    }))
}

/// What the machine calls itself.
pub(crate) fn machine_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (!name.is_empty() && name.len() <= 63 && name.chars().all(is_name)).then_some(name)
}

fn make(address: IpAddr) -> Result<Pair, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "lumenbus viewer")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(159, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(VALID_DAYS)?)?;
    let mut names = SubjectAlternativeName::new();
    names.dns("localhost").ip("127.0.0.1").ip("::1");
    if !address.is_unspecified() && !address.is_loopback() {
        names.ip(&address.to_string());
    }
    if let Some(machine) = machine_name().filter(|machine| machine != "localhost") {
        names.dns(&machine);
    }
    let names = names.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok(Pair { certificate: builder.build(), key })
}

/// The pair in the folder, made anew when it is missing, damaged, about to expire or for another address.
fn kept(folder: &Path, address: IpAddr) -> Result<Pair, TlsError> {
    let (certificate_path, key_path) = (folder.join("viewer-cert.pem"), folder.join("viewer-key.pem"));
    if let Some(pair) = read(&certificate_path, &key_path).filter(|pair| is_good(pair, address)) {
        return Ok(pair);
    }
    let pair = make(address)?;
    let keep = |path: &Path, pem: &[u8]| {
        write_secret(path, pem).map_err(|source| TlsError::Keep { path: path.to_owned(), source })
    };
    fs::create_dir_all(folder).map_err(|source| TlsError::Keep { path: folder.to_owned(), source })?;
    keep(&key_path, &pair.key.private_key_to_pem_pkcs8()?)?;
    keep(&certificate_path, &pair.certificate.to_pem()?)?;
    Ok(pair)
}

fn read(certificate: &Path, key: &Path) -> Option<Pair> {
    let certificate = X509::from_pem(&fs::read(certificate).ok()?).ok()?;
    let key = PKey::private_key_from_pem(&fs::read(key).ok()?).ok()?;
    Some(Pair { certificate, key })
}

fn is_good(pair: &Pair, address: IpAddr) -> bool {
    let is_pair = pair.certificate.public_key().is_ok_and(|public| public.public_eq(&pair.key));
    let lasts = Asn1Time::days_from_now(RENEW_DAYS).is_ok_and(|then| pair.certificate.not_after() > then);
    let is_named = address.is_unspecified() || address.is_loopback() || {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let names = pair.certificate.subject_alt_names();
        names.is_some_and(|names| names.iter().any(|name| name.ipaddress() == Some(&bytes)))
    };
    is_pair && lasts && is_named
}

/// Readable by the owner only, and whole or not at all.
fn write_secret(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_certificate_of_its_own_names_where_it_listens_for_a_year() {
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let pair = make(address).unwrap();
        let names = pair.certificate.subject_alt_names().unwrap();
        let ips: Vec<_> = names.iter().filter_map(|name| name.ipaddress().map(<[u8]>::len)).collect();
        assert_eq!(ips, [4, 16, 4]);
        assert!(names.iter().any(|name| name.dnsname() == Some("localhost")));
        let year = Asn1Time::days_from_now(0).unwrap().diff(pair.certificate.not_after()).unwrap();
        assert!((364..=365).contains(&year.days), "{year:?}");
        assert!(is_good(&pair, address) && is_good(&pair, LOOPBACK));
        assert!(!is_good(&pair, "192.0.2.8".parse().unwrap()));
    }

    #[test]
    fn a_kept_certificate_stays_the_same_until_it_no_longer_fits() {
        let folder = tempfile::tempdir().unwrap();
        let config = TlsConfig::SelfSigned { folder: Some(folder.path().join("state")) };
        let first = Tls::set_up(&config, LOOPBACK).unwrap();
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        assert_eq!(Tls::set_up(&config, LOOPBACK).unwrap().fingerprint, first.fingerprint);
        let other = Tls::set_up(&config, "192.0.2.7".parse().unwrap()).unwrap();
        assert_ne!(other.fingerprint, first.fingerprint);
        let key = folder.path().join("state/viewer-key.pem");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&key).unwrap().permissions()) & 0o777, 0o600);
        fs::write(&key, b"damaged").unwrap();
        assert_ne!(Tls::set_up(&config, LOOPBACK).unwrap().fingerprint, other.fingerprint);
    }

    #[test]
    fn files_are_checked_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(name), bytes).unwrap();
            folder.path().join(name)
        };
        let (one, two) = (make(LOOPBACK).unwrap(), make(LOOPBACK).unwrap());
        let certificate = write("cert.pem", &one.certificate.to_pem().unwrap());
        let key = write("key.pem", &one.key.private_key_to_pem_pkcs8().unwrap());
        let other = write("other.pem", &two.key.private_key_to_pem_pkcs8().unwrap());
        let junk = write("junk.pem", b"-----BEGIN NOTHING-----");
        let set_up = |certificate: &Path, key: &Path| {
            Tls::set_up(&TlsConfig::Files { certificate: certificate.to_owned(), key: key.to_owned() }, LOOPBACK)
        };
        assert_eq!(set_up(&certificate, &key).unwrap().fingerprint, fingerprint(&one.certificate).unwrap());
        assert!(matches!(set_up(&certificate, &other).err().unwrap(), TlsError::Mismatch { .. }));
        assert!(matches!(set_up(&certificate, &junk).err().unwrap(), TlsError::File { what: "key", .. }));
        let missing = folder.path().join("missing.pem");
        let error = set_up(&missing, &key).err().unwrap().to_string();
        assert!(error.contains("missing.pem") && error.contains("--https"), "{error}");
    }
}
