//! The files of the page: inside the program, or from a folder while somebody works on them.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use openssl::sha::sha256;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));
/// Serves the files of this folder instead of those inside the program; for work on the page.
const FOLDER_VARIABLE: &str = "LUMENBUS_WEB_ASSETS";
/// Below this, compression gains nothing.
const MIN_COMPRESSED_BYTES: usize = 1_024;
const MAX_FILE_BYTES: u64 = 8 << 20;

#[derive(Debug, Clone)]
struct Asset {
    kind: &'static str,
    etag: String,
    plain: Bytes,
    gzip: Option<Bytes>,
}

/// The files by their path below `/assets/`.
#[derive(Debug)]
pub(crate) struct Assets {
    files: HashMap<&'static str, Asset>,
    folder: Option<PathBuf>,
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("text/") || kind == "application/json" || kind == "image/svg+xml"
}

fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < bytes.len()).then(|| packed.into())
}

impl Asset {
    fn new(path: &str, plain: Bytes) -> Self {
        let kind = kind(path);
        let digest = sha256(&plain)[..16].iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        });
        let gzip = (is_text(kind) && plain.len() >= MIN_COMPRESSED_BYTES).then(|| gzip(&plain)).flatten();
        Self { kind, etag: format!("\"{digest}\""), plain, gzip }
    }

    fn answer(&self, request: &HeaderMap) -> Response<Body> {
        let accepts = request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let gzip = self.gzip.as_ref().filter(|_| accepts.is_some_and(accepts_gzip));
        // A strong tag names bytes: the packed form has one of its own.
        let etag = if gzip.is_some() { self.etag.replacen('"', "\"z", 1) } else { self.etag.clone() };
        let mut builder = Response::builder()
            .header(header::CONTENT_TYPE, self.kind)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::VARY, "Accept-Encoding")
            .header(header::ETAG, etag.as_str());
        if gzip.is_some() {
            builder = builder.header(header::CONTENT_ENCODING, "gzip");
        }
        let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let is_known = known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag || tag.trim() == "*"));
        let (status, body) = match is_known {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(gzip.unwrap_or(&self.plain).clone())),
        };
        builder.status(status).body(body).unwrap_or_default()
    }
}

fn accepts_gzip(value: &str) -> bool {
    value
        .split(',')
        .map(|item| item.replace(' ', ""))
        .any(|item| item == "gzip" || (item.starts_with("gzip;q=") && item != "gzip;q=0"))
}

impl Assets {
    pub(crate) fn new() -> Self {
        let asset =
            |(path, bytes): &(&'static str, &'static [u8])| (*path, Asset::new(path, Bytes::from_static(bytes)));
        let folder = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
        Self { files: FILES.iter().map(asset).collect(), folder }
    }

    /// The file with this path, already decoded; `None` when there is none.
    pub(crate) fn get(&self, path: &str, request: &HeaderMap) -> Option<Response<Body>> {
        match &self.folder {
            Some(folder) => Some(from_folder(folder, path)?.answer(request)),
            None => Some(self.files.get(path)?.answer(request)),
        }
    }

    /// The page itself.
    pub(crate) fn index(&self, request: &HeaderMap) -> Response<Body> {
        self.get("index.html", request).unwrap_or_else(|| {
            let text = "<!doctype html><title>lumenbus</title><p>This build has no page. The figures are at <a href=\"/api/v1/state\">/api/v1/state</a>.";
            let mut response = Response::new(Body::from(text));
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, html);
            response
        })
    }
}

fn from_folder(folder: &Path, path: &str) -> Option<Asset> {
    let relative = Path::new(path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let folder = folder.canonicalize().ok()?;
    // A link could lead out of the folder.
    let file = folder.join(relative).canonicalize().ok().filter(|file| file.starts_with(&folder))?;
    if !std::fs::metadata(&file).is_ok_and(|data| data.is_file() && data.len() <= MAX_FILE_BYTES) {
        return None;
    }
    Some(Asset::new(path, std::fs::read(file).ok()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_not_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("assets");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("app.js"), "1").unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        assert!(from_folder(&root, "app.js").is_some());
        for path in ["../secret", "/etc/passwd", "a/../../secret", "", ".", "./../secret"] {
            assert!(from_folder(&root, path).is_none(), "{path}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link")).unwrap();
            assert!(from_folder(&root, "link").is_none());
        }
    }

    #[test]
    fn a_known_file_is_not_sent_again_and_text_is_packed() {
        let asset = Asset::new("app.js", Bytes::from(vec![b'a'; 5_000]));
        let mut request = HeaderMap::new();
        request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("br, gzip"));
        let packed = asset.answer(&request);
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        request.insert(header::IF_NONE_MATCH, packed.headers()[header::ETAG].clone());
        assert_eq!(asset.answer(&request).status(), StatusCode::NOT_MODIFIED);
        request.remove(header::ACCEPT_ENCODING);
        assert_eq!(asset.answer(&request).status(), StatusCode::OK);
        assert!(!accepts_gzip("gzip;q=0") && accepts_gzip("deflate, gzip;q=0.5"));
    }
}
