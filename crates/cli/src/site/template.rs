//! What `lumenbus init` writes.

const TEMPLATE: &str = include_str!("template.toml");
/// The line that an address of a cluster replaces.
const BROKERS: &str = "#brokers = \"kafka-1:9092,kafka-2:9092\"";

/// A commented settings file; with the brokers of a cluster where they are named.
pub(crate) fn template(brokers: Option<&str>) -> String {
    let Some(brokers) = brokers else { return TEMPLATE.to_owned() };
    let line = format!("brokers = {}", toml::Value::from(brokers));
    TEMPLATE.replacen(BROKERS, &line, 1).replacen("\n[broker]\n", "\n#[broker]\n", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::DetectOptions;
    use crate::site::Site;
    use crate::webhook::WebhookOptions;
    use lumenbus_pipeline::video::VideoOptions;
    use lumenbus_vision::DetectorKind;
    use std::path::Path;

    fn parse(text: &str) -> Site {
        Site::parse(Path::new("lumenbus.toml"), text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Every key that is only shown counts too.
    fn uncommented(text: &str) -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|first: char| first.is_ascii_lowercase() || "[\"".contains(first)) => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn the_template_is_right_with_and_without_its_comments() {
        let site = parse(&template(None));
        assert_eq!(site.cameras.len(), 1);
        assert!(site.broker.is_some());
        let full = parse(&uncommented(&template(None)));
        assert_eq!(full.brokers.as_deref(), Some("kafka-1:9092,kafka-2:9092"));
        let camera = &full.cameras[0];
        assert_eq!((camera.bitrate, camera.labels.len()), (Some(4_000_000), 1));
    }

    #[test]
    fn the_defaults_it_shows_are_the_defaults() {
        let (shown, silent) = (parse(&uncommented(&template(None))), parse(&template(None)));
        let (shown_camera, silent_camera) = (&shown.cameras[0], &silent.cameras[0]);
        assert_eq!(shown_camera.video.gop(), silent_camera.video.gop());
        assert_eq!(shown_camera.video.skips_idle(), silent_camera.video.skips_idle());
        let (gop, idle_skip) = (silent_camera.video.gop, silent_camera.video.idle_skip);
        assert_eq!(VideoOptions { gop, idle_skip, ..shown_camera.video }, silent_camera.video);
        assert_eq!(shown_camera.quality, silent_camera.quality);
        assert_eq!(shown_camera.stream, silent_camera.stream);
        assert_eq!((shown_camera.is_looped, shown_camera.enabled), (silent_camera.is_looped, silent_camera.enabled));
        let mut shown_detect = shown.detects[0].clone();
        // Patterns and topics that say the same as none.
        (shown_detect.camera, shown_detect.topic, shown_detect.group) = Default::default();
        assert!(silent.detects.is_empty());
        assert_eq!(shown_detect, DetectOptions::new(DetectorKind::Motion));
        let mut shown_webhook = shown.webhooks[0].clone();
        (shown_webhook.secret, shown_webhook.filter, shown_webhook.group) = Default::default();
        assert!(silent.webhooks.is_empty());
        assert_eq!(shown_webhook, WebhookOptions::new("hooks".to_owned(), shown_webhook.target.clone()));
        let (shown_broker, silent_broker) = (shown.broker.unwrap(), silent.broker.unwrap());
        assert_eq!((shown_broker.data, shown_broker.listen), (silent_broker.data, silent_broker.listen));
        assert_eq!((shown_broker.keep_free, shown_broker.fsync), (silent_broker.keep_free, silent_broker.fsync));
        assert_eq!(shown.traces.sample_ratio.to_bits(), silent.traces.sample_ratio.to_bits());
        assert_eq!(shown.profile.unwrap(), lumenbus_bus::Profile::default());
    }

    #[test]
    fn with_a_cluster_there_is_no_broker_of_its_own() {
        let site = parse(&template(Some("a:1,\"b\":2")));
        assert_eq!(site.brokers.as_deref(), Some("a:1,\"b\":2"));
        assert!(site.broker.is_none());
    }
}
