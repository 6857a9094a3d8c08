//! The bare side: a producer and consumers as rdkafka gives them, with our properties.

use super::environment::Environment;
use super::load::{Load, Measured, Received};
use lumenbus_bus::Role;
use rdkafka::config::FromClientConfig as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

type BareProducer = ThreadedProducer<DefaultProducerContext>;

pub(super) fn run(environment: &mut Environment, load: &Load) -> anyhow::Result<Measured> {
    let topic = environment.topic(load.partitions)?;
    let producer = BareProducer::from_config(&environment.bus.client_config(Role::Producer))?;
    warm_up(&producer, load, &topic)?;
    let clock = Instant::now();
    let received = Arc::new(Received::new(load, clock));
    let readers = readers(environment, load, &topic, &received)?;
    received.wait_warm(u64::try_from(load.partitions)?)?;
    let run = super::ours::Run::begin(environment);
    send(&producer, load, &topic, clock)?;
    received.wait()?;
    let measured = run.end(load, &received);
    producer.flush(Duration::from_secs(30))?;
    for reader in readers {
        drop(reader.join());
    }
    Ok(measured)
}

/// Connections, metadata and the producer id are there before the clock starts, as they are on our side.
fn warm_up(producer: &BareProducer, load: &Load, topic: &str) -> anyhow::Result<()> {
    for partition in 0..load.partitions {
        let record = BaseRecord::<str, [u8]>::to(topic).key("warm-up").payload(&[]).partition(partition);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(Duration::from_secs(30))?;
    Ok(())
}

fn readers(
    environment: &Environment,
    load: &Load,
    topic: &str,
    received: &Arc<Received>,
) -> anyhow::Result<Vec<std::thread::JoinHandle<()>>> {
    let mut readers = Vec::new();
    for index in 0..load.consumers {
        let mut config = environment.bus.client_config(Role::Consumer);
        config.set("group.id", "bare");
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        for partition in (0..load.partitions).skip(index).step_by(load.consumers) {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let received = Arc::clone(received);
        readers.push(std::thread::spawn(move || {
            while !received.is_complete() {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
                    let payload = message.payload().unwrap_or_default();
                    if payload.is_empty() {
                        received.warm();
                    } else {
                        received.frame(payload);
                    }
                }
            }
        }));
    }
    Ok(readers)
}

fn send(producer: &BareProducer, load: &Load, topic: &str, clock: Instant) -> anyhow::Result<()> {
    let keys: Vec<_> = (0..load.cameras).map(|camera| format!("camera-{camera}")).collect();
    let began = Instant::now();
    for frame in 0..load.frames {
        load.wait(frame, began);
        let camera = load.camera(frame);
        let payload = load.payload(clock);
        let partition = i32::try_from(camera)? % load.partitions;
        let mut record = BaseRecord::to(topic).key(&keys[camera]).payload(&payload).partition(partition);
        while let Err((error, back)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error.into());
            }
            record = back;
            // librdkafka does not tell when its queue has room again.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}
