//! The demo's buttons in the page.

use crate::demo::stage::Stage;
use lumenbus_frame::CameraId;
use lumenbus_web::{Action, Actions, CameraName};
use std::sync::Arc;

const KILL_BROKER: &str = "kill-broker";
const SLOW_READER: &str = "slow-reader";
const UNPLUG: &str = "unplug";

/// What the page may do to the demo.
pub(crate) struct Buttons {
    stage: Arc<Stage>,
    cameras: Vec<CameraId>,
}

impl Buttons {
    /// For these cameras.
    pub(crate) fn new(stage: Arc<Stage>, cameras: Vec<CameraId>) -> Self {
        Self { stage, cameras }
    }

    fn kill_broker(&self) -> Action {
        let is_away = !self.stage.is_broker_up();
        let (en, zh) = match is_away {
            true => ("The broker is away; it comes back", "代理已停止，正在恢复"),
            false => ("Kill the broker", "强制终止代理"),
        };
        button(KILL_BROKER, en, zh, None, is_away)
    }

    fn slow_reader(&self) -> Action {
        let camera = self.stage.slow_camera();
        let Some(book) = self.stage.slow_book() else {
            let (en, zh) = (format!("Attach a slow reader to {camera}"), format!("给 {camera} 接一个慢读者"));
            return button(SLOW_READER, &en, &zh, None, false);
        };
        let (frames, reasons) = (book.frames, book.reasons());
        let en = format!("Detach the slow reader ({frames} frames read, left out: {reasons})");
        let zh = format!("移除慢读者（已读 {frames} 帧，跳过：{reasons}）");
        button(SLOW_READER, &en, &zh, None, true)
    }

    fn cable(&self, camera: &CameraId) -> Action {
        let is_unplugged = self.stage.is_unplugged(camera);
        let (en, zh) = match is_unplugged {
            true => (format!("Plug {camera} in again"), format!("重新接上 {camera}")),
            false => (format!("Unplug {camera}"), format!("拔掉 {camera}")),
        };
        button(UNPLUG, &en, &zh, Some(camera), is_unplugged)
    }
}

fn button(id: &str, en: &str, zh: &str, camera: Option<&CameraId>, is_on: bool) -> Action {
    Action {
        id: id.to_owned(),
        label_en: en.to_owned(),
        label_zh: zh.to_owned(),
        camera: camera.cloned().map(CameraName),
        is_on,
    }
}

impl Actions for Buttons {
    fn list(&self) -> Vec<Action> {
        let cables = self.cameras.iter().map(|camera| self.cable(camera));
        [self.kill_broker(), self.slow_reader()].into_iter().chain(cables).collect()
    }

    fn run(&self, id: &str, camera: Option<&CameraId>) -> Result<String, String> {
        match (id, camera) {
            (KILL_BROKER, _) => self.stage.kill_broker(),
            (SLOW_READER, _) => self.stage.toggle_slow_reader(),
            (UNPLUG, Some(camera)) => self.stage.toggle_cable(camera),
            (UNPLUG, None) => Err("say which camera".to_owned()),
            _ => Err(format!("there is no action {id:?}")),
        }
    }
}
