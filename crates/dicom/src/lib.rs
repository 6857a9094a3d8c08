//! DICOM objects on Kafka: cut without re-encoding, put together again byte for byte, de-identified.
