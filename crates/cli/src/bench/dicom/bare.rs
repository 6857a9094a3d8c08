//! The bare side: files cut into records of one size, and what comes appended to one file.

use super::super::environment::Environment;
use anyhow::{Context as _, ensure};
use lumenbus_bus::Role;
use rdkafka::config::FromClientConfig as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As large as a chunk.
const RECORD_BYTES: usize = 899 << 10;
/// As many as DICOM topics have for one camera's worth of frames.
const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// From the first byte that is read to the last one that is written.
pub(super) fn run(
    environment: &mut Environment,
    files: &[PathBuf],
    bytes: u64,
    folder: &Path,
) -> anyhow::Result<Duration> {
    let topic = environment.topic(PARTITIONS)?;
    let mut config = environment.bus.client_config(Role::Producer);
    config.set("acks", "all").set("enable.idempotence", "true").set("compression.type", "none");
    let producer = ThreadedProducer::<DefaultProducerContext>::from_config(&config)?;
    let mut config = environment.bus.client_config(Role::Consumer);
    config.set("group.id", "bare");
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&topic, partition, Offset::Beginning)?;
        // Connections, metadata and the producer id are there before the clock starts.
        let record = BaseRecord::<str, [u8]>::to(&topic).payload(&[]).partition(partition);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE)?;
    consumer.assign(&list)?;
    for _ in 0..PARTITIONS {
        consumer.poll(PATIENCE).context("the bare consumer gets nothing")??;
    }
    let began = Instant::now();
    let out = folder.join("bare");
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&consumer, bytes, &out));
        send(&producer, &topic, files)?;
        receiving.join().map_err(|_| anyhow::anyhow!("the bare consumer panicked"))?
    })?;
    let time = began.elapsed();
    std::fs::remove_file(&out)?;
    Ok(time)
}

fn receive(consumer: &BaseConsumer, bytes: u64, out: &Path) -> anyhow::Result<()> {
    let mut out = File::create(out)?;
    let (mut received, mut last) = (0, Instant::now());
    while received < bytes {
        match consumer.poll(Duration::from_millis(20)) {
            Some(Ok(message)) => {
                let payload = message.payload().unwrap_or_default();
                out.write_all(payload)?;
                received += payload.len() as u64;
                last = Instant::now();
            }
            Some(Err(error)) => return Err(error.into()),
            None => ensure!(last.elapsed() < PATIENCE, "the bare consumer got {received} of {bytes} bytes"),
        }
    }
    // As a received file is.
    Ok(out.sync_all()?)
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, files: &[PathBuf]) -> anyhow::Result<()> {
    let mut piece = vec![0; RECORD_BYTES];
    let mut number = 0;
    for path in files {
        let mut file = File::open(path)?;
        loop {
            let length = fill(&mut file, &mut piece)?;
            if length == 0 {
                break;
            }
            let mut record =
                BaseRecord::<str, [u8]>::to(topic).payload(&piece[..length]).partition(number % PARTITIONS);
            while let Err((error, back)) = producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error.into());
                }
                record = back;
                // librdkafka does not tell when its queue has room again.
                std::thread::sleep(Duration::from_millis(1));
            }
            number += 1;
        }
    }
    Ok(producer.flush(PATIENCE)?)
}

fn fill(file: &mut File, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match file.read(&mut piece[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
