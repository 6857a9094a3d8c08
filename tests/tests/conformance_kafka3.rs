//! The promises of the bus on Apache Kafka with three nodes.

use lumenbus_tests::backend::Kind;

lumenbus_tests::conformance_suite!(Kind::Kafka3);
