//! Real-time image and video transport on Apache Kafka
