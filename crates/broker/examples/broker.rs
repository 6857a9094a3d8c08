//! A broker on the command line, for trying clients on it:
//! `cargo run -p lumenbus-broker --example broker -- DIR [ADDR]`, stopped with Ctrl-C.

use std::error::Error;
use std::net::SocketAddr;

use lumenbus_broker::{Broker, BrokerConfig};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter.unwrap_or_else(|_| "info".into())).init();
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: broker DIR [ADDR]")?;
    let mut config = BrokerConfig::new(folder);
    if let Some(address) = arguments.next() {
        config = config.listen(address.parse::<SocketAddr>()?);
    }
    let broker = Broker::start(config).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        () = broker.wait() => {}
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    broker.shutdown().await?;
    Ok(())
}
