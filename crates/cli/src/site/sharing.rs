//! A box that is a node of a shared fleet: its settings, and what an operator sees of the others.

use lumenbus_bus::BusConfig;
use lumenbus_frame::FleetName;
use lumenbus_ops::Metrics;
use lumenbus_ops::metrics::{Row, collector};
use lumenbus_pipeline::fleet::{Fleet, NodeStatus, ShareConfig, ShareStatus};
use lumenbus_wire::FleetStanding;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most nodes that are named in a line.
const MAX_NAMED: usize = 8;

/// `[fleet] shared` and `node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShareSettings {
    pub(crate) fleet: FleetName,
    pub(crate) node: String,
}

impl ShareSettings {
    pub(crate) fn config(&self, bus: &BusConfig) -> ShareConfig {
        ShareConfig { fleet: self.fleet.clone(), bus: bus.clone(), node: self.node.clone() }
    }
}

/// `box-2/4711`: host and process.
pub(crate) fn own_name() -> String {
    let uname = rustix::system::uname();
    format!("{}/{}", uname.nodename().to_string_lossy(), std::process::id())
}

fn standing(node: &NodeStatus) -> &'static str {
    match node.standing {
        FleetStanding::Joining => "joining",
        FleetStanding::Member => "member",
        FleetStanding::Draining => "draining",
    }
}

/// `fleet yard · 12 cameras here · 2 nodes: box-1 (this one), box-2`
pub(crate) fn share_head(share: &ShareStatus) -> String {
    let name = |node: &NodeStatus| match (node.is_own, node.standing) {
        (true, _) => format!("{} (this one)", node.name),
        (false, FleetStanding::Member) => node.name.to_string(),
        (false, _) => format!("{} ({})", node.name, standing(node)),
    };
    let mut named: Vec<_> = share.nodes.iter().take(MAX_NAMED).map(name).collect();
    if share.nodes.len() > MAX_NAMED {
        named.push(format!("and {} more", share.nodes.len() - MAX_NAMED));
    }
    let deaf = if share.is_sighted { "" } else { " · the other nodes are not heard: nothing is taken over here" };
    let (held, nodes) = (share.held_cameras, share.nodes.len());
    format!("fleet {} · {held} cameras here · {nodes} nodes: {}{deaf}", share.fleet, named.join(", "))
}

/// Remembers the nodes, to tell of changes.
#[derive(Debug, Default)]
pub(crate) struct NodeBoard {
    nodes: Vec<NodeStatus>,
    is_sighted: bool,
}

impl NodeBoard {
    /// The fleet, when its nodes are others than the last time, or stand otherwise.
    pub(crate) fn update(&mut self, share: &ShareStatus) -> Option<Value> {
        if self.nodes == share.nodes && self.is_sighted == share.is_sighted {
            return None;
        }
        (self.nodes, self.is_sighted) = (share.nodes.clone(), share.is_sighted);
        let node = |node: &NodeStatus| {
            json!({
                "name": &*node.name, "standing": standing(node), "is_own": node.is_own, "is_counted": node.is_counted,
                "has_same_cameras": node.has_same_cameras,
            })
        };
        Some(json!({
            "name": share.fleet.as_str(), "is_sighted": share.is_sighted, "cameras_here": share.held_cameras,
            "nodes": share.nodes.iter().map(node).collect::<Vec<_>>(),
        }))
    }
}

/// The figures of a shared fleet. They must not keep it from being dropped.
pub(crate) fn show_share(metrics: &Metrics, fleet: &Arc<Fleet>) {
    if fleet.sharing().is_none() {
        return;
    }
    let fleet = Arc::downgrade(fleet);
    metrics.register(collector(move |families| {
        let Some(share) = fleet.upgrade().and_then(|fleet| fleet.sharing()) else { return Ok(()) };
        let (counts, one) = (share.counts, |count: u64| [Row::count(count)]);
        let of = |is_meant: FleetStanding| share.nodes.iter().filter(move |node| node.standing == is_meant).count();
        let standings = [FleetStanding::Joining, FleetStanding::Member, FleetStanding::Draining];
        let names = ["joining", "member", "draining"];
        let nodes = standings.into_iter().zip(names).map(|(s, name)| Row::count(of(s) as u64).label("standing", name));
        families.gauges("lumenbus_fleet_nodes", "Nodes of the shared fleet that are heard", nodes)?;
        let held = one(share.held_cameras as u64);
        families.gauges("lumenbus_fleet_cameras", "Cameras of the shared fleet that run here", held)?;
        let sighted = one(u64::from(share.is_sighted));
        families.gauges("lumenbus_fleet_sighted", "Whether the other nodes are heard", sighted)?;
        let taken = one(counts.taken_over);
        families.counters("lumenbus_fleet_taken_over_cameras", "Cameras of lost nodes that were taken over", taken)?;
        let lost = one(counts.superseded);
        families.counters("lumenbus_fleet_superseded_cameras", "Cameras that others took from here", lost)?;
        let late = Row::count(counts.late_beats).label("reason", "late");
        let refused = Row::count(counts.refused_beats).label("reason", "refused");
        let foreign = Row::count(share.foreign_records).label("reason", "foreign");
        let help = "Beats that were heard and do not count";
        families.counters("lumenbus_fleet_ignored_beats", help, [late, refused, foreign])
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_pipeline::fleet::ShareCounts;

    fn node(name: &str, standing: FleetStanding, is_own: bool) -> NodeStatus {
        let name = Arc::from(name);
        NodeStatus { node: 1, name, standing, is_own, is_counted: true, has_same_cameras: true }
    }

    #[test]
    fn the_fleet_is_told_in_a_line_and_when_it_changes() {
        let nodes = vec![node("a", FleetStanding::Member, true), node("b", FleetStanding::Draining, false)];
        let counts = ShareCounts::default();
        let fleet = "yard".parse().unwrap();
        let mut share = ShareStatus { fleet, is_sighted: true, nodes, held_cameras: 3, counts, foreign_records: 0 };
        assert_eq!(share_head(&share), "fleet yard · 3 cameras here · 2 nodes: a (this one), b (draining)");
        let mut board = NodeBoard::default();
        assert_eq!(board.update(&share).unwrap()["nodes"][1]["standing"], "draining");
        assert!(board.update(&share).is_none());
        share.is_sighted = false;
        assert!(share_head(&share).ends_with("nothing is taken over here"));
        assert_eq!(board.update(&share).unwrap()["is_sighted"], false);
    }
}
