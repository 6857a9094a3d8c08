//! Publisher and subscriber: frames through Kafka, in order, each once
