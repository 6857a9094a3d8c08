//! The promises of the bus on Apache Kafka with one node.

use lumenbus_tests::backend::Kind;

lumenbus_tests::conformance_suite!(Kind::Kafka1);

/// TLS, SCRAM-SHA-256 and ACLs: rights come from properties alone.
mod secured {
    use lumenbus_bus::publisher::PublisherConfig;
    use lumenbus_bus::rights::{Needs, Verdict, rights};
    use lumenbus_bus::subscriber::{Start, Subscriber, SubscriberConfig};
    use lumenbus_bus::topics::ensure_topics;
    use lumenbus_bus::{BusConfig, BusError, Publisher};
    use lumenbus_tests::backend::start_kafka;
    use lumenbus_tests::load::Camera;
    use lumenbus_tests::tally::Tally;
    use xtask::kafka::{KafkaCluster, KafkaOptions, User};

    fn config(cluster: &KafkaCluster, user: &User) -> BusConfig {
        let mut config = BusConfig::new(cluster.bootstrap());
        for (name, value) in user.librdkafka() {
            config.set_property(&name, &value);
        }
        config
    }

    fn subscriber(bus: BusConfig, group: &str) -> Result<Subscriber, BusError> {
        let topic = bus.topic_prefix.topic("raw_video");
        let mut config = SubscriberConfig::new(bus, vec![topic]);
        config.group = Some(group.to_owned());
        config.start = Start::Earliest;
        Subscriber::open(config)
    }

    /// What each resource's rights are found to be.
    fn verdicts(bus: &BusConfig, group: &str) -> Vec<(String, Verdict)> {
        let mut needs = Needs::default();
        needs.writes = vec![bus.topic_prefix.topic("raw_video")];
        needs.reads.clone_from(&needs.writes);
        needs.group = Some(group.to_owned());
        let found = rights(bus, &needs).expect("the cluster answers");
        assert!(found.iter().any(|right| right.operation == "Write" && right.resource == "topic raw_video"));
        found.into_iter().map(|right| (right.resource, right.verdict)).collect()
    }

    #[test]
    fn alice_publishes_and_subscribes_and_mallory_is_refused() {
        let options = KafkaOptions { secure: true, ..KafkaOptions::default() };
        let Some(cluster) = start_kafka("secured Apache Kafka", &options) else { return };
        let users = cluster.credentials().unwrap();
        let alice = config(&cluster, &users.alice);
        let publisher = Publisher::open(PublisherConfig::new(alice.clone())).unwrap();
        let mut camera = Camera::open(&publisher, "gate", "raw_video");
        camera.send_many(30, 20_000);
        camera.send(3_000_000);
        let stream = camera.handle.id().clone();
        let (frames, _) = camera.finish();
        let mut subscriber_of_alice = subscriber(alice.clone(), "lumenbus-secured").unwrap();
        let mut tally = Tally::default();
        tally.read_to_end(&mut subscriber_of_alice, 1);
        tally.assert_complete();
        tally.assert_contents(&stream, &frames);
        subscriber_of_alice.commit().unwrap();

        // Without them it is not found out who may read and write them.
        ensure_topics(&alice, &["lumenbus.index", "lumenbus.control"]).unwrap();
        let of_alice = verdicts(&alice, "lumenbus-secured");
        assert!(of_alice.iter().all(|(_, verdict)| *verdict == Verdict::Allowed), "{of_alice:#?}");
        let elsewhere = verdicts(&alice, "not-hers");
        let is_hers = |resource: &str| !resource.starts_with("group");
        assert!(elsewhere.iter().all(|(resource, verdict)| is_hers(resource) == (*verdict == Verdict::Allowed)));

        let mallory = config(&cluster, &users.mallory);
        let of_mallory = verdicts(&mallory, "lumenbus-secured");
        assert!(of_mallory.iter().all(|(_, verdict)| matches!(verdict, Verdict::Denied { .. })), "{of_mallory:#?}");
        let refused = Publisher::open(PublisherConfig::new(mallory.clone())).map(drop);
        assert!(matches!(refused, Err(BusError::NotAuthorised { .. })), "{refused:?}");
        let refused = subscriber(mallory, "lumenbus-secured").map(drop);
        assert!(matches!(refused, Err(BusError::NotAuthorised { .. })), "{refused:?}");

        let mut stranger = alice.clone();
        stranger.set_property("sasl.password", "wrong");
        let refused = Publisher::open(PublisherConfig::new(stranger)).map(drop).unwrap_err();
        assert!(refused.is_broker_trouble(), "{refused}");
        assert!(!refused.to_string().contains("wrong"), "{refused}");

        let mut in_the_clear = BusConfig::new(cluster.bootstrap());
        in_the_clear.topic_prefix = alice.topic_prefix;
        let refused = Publisher::open(PublisherConfig::new(in_the_clear)).map(drop).unwrap_err();
        assert!(refused.is_broker_trouble(), "{refused}");
    }
}
