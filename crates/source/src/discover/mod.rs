//! Cameras that can be found: who on this network answers to ONVIF, and what streams it offers.
//!
//! [`discover`] asks by multicast (WS-Discovery, as ONVIF's core specification has it) and listens to greetings;
//! [`ask`] then asks each device over HTTP what it is and where its streams are. Only the address that answered is
//! ever connected to, whatever other addresses an answer names. Everything that comes is bounded and may be hostile:
//! messages are read in one pass, without document types or entities.

mod device;
mod http;
mod message;
mod reply;
mod search;
mod xml;

pub use device::{Device, MAX_PROFILES, ask};
pub use message::{Announcement, read_announcements};
pub use reply::{Fault, Information, Profile, Reply, read_reply};
pub use search::{Discovered, Discovery, DiscoveryConfig, MAX_CAMERAS, Progress, discover};
pub use xml::MessageError;
