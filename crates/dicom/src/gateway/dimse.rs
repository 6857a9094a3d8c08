//! Command sets of DIMSE messages (PS3.7, section 6.3 and annex E): implicit VR little endian, group 0000. No I/O.

/// Most bytes of a command set; those of the services here have a few hundred.
pub const MAX_COMMAND_BYTES: usize = 16 << 10;
/// (0000,0800) of a message without a data set.
const NO_DATA_SET: u16 = 0x0101;
const UID_BYTES: usize = 64;

const AFFECTED_CLASS: u16 = 0x0002;
const REQUESTED_CLASS: u16 = 0x0003;
const FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const RESPONDED_ID: u16 = 0x0120;
const PRIORITY: u16 = 0x0700;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const COMMENT: u16 = 0x0902;
const AFFECTED_INSTANCE: u16 = 0x1000;
const REQUESTED_INSTANCE: u16 = 0x1001;
const EVENT_TYPE: u16 = 0x1002;
const ACTION_TYPE: u16 = 0x1008;

/// What a message asks for or answers (PS3.7, table E.1-1).
pub mod field {
    /// C-STORE-RQ
    pub const STORE: u16 = 0x0001;
    /// C-ECHO-RQ
    pub const ECHO: u16 = 0x0030;
    /// N-EVENT-REPORT-RQ
    pub const EVENT: u16 = 0x0100;
    /// N-ACTION-RQ
    pub const ACTION: u16 = 0x0130;
    /// C-CANCEL-RQ, which nobody answers.
    pub const CANCEL: u16 = 0x0fff;
    /// What a response has beyond its request.
    pub const RESPONSE: u16 = 0x8000;
}

/// Status codes (PS3.7, annex C; PS3.4, table B.2-1).
pub mod status {
    /// Done.
    pub const SUCCESS: u16 = 0x0000;
    /// The SOP class is not supported.
    pub const CLASS_NOT_SUPPORTED: u16 = 0x0122;
    /// An argument is wrong.
    pub const INVALID_ARGUMENT: u16 = 0x0115;
    /// No such action.
    pub const NO_SUCH_ACTION: u16 = 0x0123;
    /// Nothing like that is done here.
    pub const UNRECOGNIZED_OPERATION: u16 = 0x0211;
    /// Refused: out of resources.
    pub const OUT_OF_RESOURCES: u16 = 0xa700;
    /// Error: the data set does not match the SOP class or instance of the command.
    pub const DOES_NOT_MATCH: u16 = 0xa900;
    /// Error: cannot understand.
    pub const CANNOT_UNDERSTAND: u16 = 0xc000;
}

/// Bytes that are no command set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command set is wrong at byte {offset}: {what}")]
pub struct CommandError {
    /// Where.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// The elements of a command set that the services here use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// (0000,0100)
    pub field: u16,
    /// (0000,0110) of a request, (0000,0120) of a response.
    pub message_id: u16,
    /// (0000,0002), in N-ACTION requests (0000,0003).
    pub sop_class: Option<String>,
    /// (0000,1000), in N-ACTION requests (0000,1001).
    pub sop_instance: Option<String>,
    /// Whether a data set follows.
    pub has_data_set: bool,
    /// (0000,0900) of a response.
    pub status: Option<u16>,
    /// (0000,0902): why, for people.
    pub comment: Option<&'static str>,
    /// (0000,1002) or (0000,1008).
    pub type_id: Option<u16>,
}

impl Command {
    /// Reads a whole command set.
    ///
    /// # Errors
    /// [`CommandError`]: bytes that end early, elements of other groups or out of order, and one without field or id.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        let mut command = Self::default();
        let (mut offset, mut last, mut has_field, mut has_id) = (0, None, false, false);
        while offset < bytes.len() {
            let wrong = |what| CommandError { offset, what };
            let header = bytes[offset..].first_chunk::<8>().ok_or(wrong("an element ends early"))?;
            let [0, 0, low, high, a, b, c, d] = *header else {
                return Err(wrong("an element is not of group 0000"));
            };
            let element = u16::from_le_bytes([low, high]);
            if last.is_some_and(|last| element <= last) {
                return Err(wrong("elements are not in order"));
            }
            let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let value = bytes[offset + 8..].get(..length).ok_or(wrong("a value is longer than the command set"))?;
            let number = || value.try_into().map(u16::from_le_bytes).map_err(|_| wrong("a number has not two bytes"));
            match element {
                FIELD => (command.field, has_field) = (number()?, true),
                MESSAGE_ID | RESPONDED_ID => (command.message_id, has_id) = (number()?, true),
                DATA_SET_TYPE => command.has_data_set = number()? != NO_DATA_SET,
                STATUS => command.status = Some(number()?),
                EVENT_TYPE | ACTION_TYPE => command.type_id = Some(number()?),
                AFFECTED_CLASS | REQUESTED_CLASS => command.sop_class = uid(value).map_err(wrong)?,
                AFFECTED_INSTANCE | REQUESTED_INSTANCE => command.sop_instance = uid(value).map_err(wrong)?,
                _ => {}
            }
            last = Some(element);
            offset += 8 + length;
        }
        let is_cancel = command.field == field::CANCEL;
        match has_field && (has_id || is_cancel) {
            true => Ok(command),
            false => Err(CommandError { offset, what: "there is no command field or no message id" }),
        }
    }

    /// The command set.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let is_response = self.field & field::RESPONSE != 0;
        let asks_for_action = self.field == field::ACTION;
        let mut out = Vec::new();
        let [class, instance] = match asks_for_action {
            true => [REQUESTED_CLASS, REQUESTED_INSTANCE],
            false => [AFFECTED_CLASS, AFFECTED_INSTANCE],
        };
        let mut push = |element: u16, value: &[u8], pad: u8| {
            out.extend([0, 0]);
            out.extend(element.to_le_bytes());
            let padded = value.len().next_multiple_of(2);
            out.extend(u32::try_from(padded).unwrap_or(0).to_le_bytes());
            out.extend(value);
            out.resize(out.len() + (padded - value.len()), pad);
        };
        if let Some(uid) = &self.sop_class {
            push(class, uid.as_bytes(), 0);
        }
        push(FIELD, &self.field.to_le_bytes(), 0);
        push(if is_response { RESPONDED_ID } else { MESSAGE_ID }, &self.message_id.to_le_bytes(), 0);
        if self.field == field::STORE {
            push(PRIORITY, &[0, 0], 0);
        }
        let data_set = if self.has_data_set { 0x0001 } else { NO_DATA_SET };
        push(DATA_SET_TYPE, &data_set.to_le_bytes(), 0);
        if let Some(status) = self.status {
            push(STATUS, &status.to_le_bytes(), 0);
        }
        if let Some(comment) = self.comment {
            push(COMMENT, comment.as_bytes(), b' ');
        }
        if let Some(uid) = &self.sop_instance {
            push(instance, uid.as_bytes(), 0);
        }
        if let Some(id) = self.type_id {
            let is_action = self.field & !field::RESPONSE == field::ACTION;
            push(if is_action { ACTION_TYPE } else { EVENT_TYPE }, &id.to_le_bytes(), 0);
        }
        let mut whole = vec![0, 0, 0, 0, 4, 0, 0, 0];
        whole.extend(u32::try_from(out.len()).unwrap_or(0).to_le_bytes());
        whole.extend(out);
        whole
    }

    /// The answer to this request.
    #[must_use]
    pub fn response(&self, status: u16, comment: Option<&'static str>) -> Self {
        Self { field: self.field | field::RESPONSE, status: Some(status), comment, has_data_set: false, ..self.clone() }
    }
}

fn uid(value: &[u8]) -> Result<Option<String>, &'static str> {
    let value = value.trim_ascii_end();
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    if value.len() > UID_BYTES || !value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return Err("a value is no UID");
    }
    Ok((!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Command {
        Command {
            field: field::STORE,
            message_id: 7,
            sop_class: Some("1.2.840.10008.5.1.4.1.1.7".to_owned()),
            sop_instance: Some("1.2.3".to_owned()),
            has_data_set: true,
            ..Command::default()
        }
    }

    #[test]
    fn commands_come_back_as_they_were() {
        let request = request();
        assert_eq!(Command::decode(&request.encode()).unwrap(), request);
        let response = request.response(status::OUT_OF_RESOURCES, Some("odd"));
        let read = Command::decode(&response.encode()).unwrap();
        assert_eq!(read, Command { comment: None, ..response });
        let action = Command { field: field::ACTION, type_id: Some(1), ..request };
        assert_eq!(Command::decode(&action.encode()).unwrap(), action);
    }

    #[test]
    fn broken_commands_are_errors() {
        let whole = request().encode();
        let check = |bytes: &[u8], is_right: bool| assert_eq!(Command::decode(bytes).is_ok(), is_right, "{bytes:?}");
        check(&whole, true);
        check(&whole[..whole.len() - 1], false);
        check(&[], false);
        check(&[8, 0, 5, 0, 0, 0, 0, 0], false);
        check(&[0, 0, 0, 1, 255, 255, 255, 255], false);
        check(&[&whole[..], &whole[..]].concat(), false);
    }
}
