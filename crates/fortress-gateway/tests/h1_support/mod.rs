//! A connection's worth of bytes, read as the gateway reads it: head, body, next head.

use bytes::BytesMut;
use fortress_gateway::h1::{
    ChunkedDecoder, Framing, HeadBounds, RequestHead, ScanState, parse_request,
};
use fortress_model::{Bounds, Reason};

/// A request as an application would see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// How reading ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Between two messages.
    Clean,
    /// Within a message, which had this many bytes.
    Within(usize),
    /// After a message that ended the connection.
    Closed,
    Refused(Reason),
}

pub(crate) fn bounds() -> HeadBounds {
    HeadBounds::from(&Bounds::default())
}

/// All messages of `pieces`, as they arrive one after the other.
pub(crate) fn read_all<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Message>, End) {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.buffer.extend_from_slice(piece);
        match reader.advance() {
            Ok(true) => {}
            Ok(false) => return (reader.messages, End::Closed),
            Err(reason) => return (reader.messages, End::Refused(reason)),
        }
    }
    let left = reader.buffer.len() + reader.body.len();
    let end = if left == 0 && reader.head.is_none() {
        End::Clean
    } else {
        End::Within(left)
    };
    (reader.messages, end)
}

#[derive(Default)]
struct Reader {
    buffer: BytesMut,
    scan: ScanState,
    head: Option<(RequestHead, ChunkedDecoder)>,
    body: BytesMut,
    messages: Vec<Message>,
}

impl Reader {
    /// Reads what there is; `false` when the connection has ended.
    fn advance(&mut self) -> Result<bool, Reason> {
        loop {
            if self.head.is_none() {
                let parsed = parse_request(&mut self.buffer, &bounds(), &mut self.scan);
                let Some(head) = parsed.map_err(|refused| refused.reason)? else {
                    return Ok(true);
                };
                self.head = Some((head, ChunkedDecoder::for_request(&bounds())));
            }
            let Some((head, decoder)) = &mut self.head else {
                return Ok(true);
            };
            let done = match head.framing {
                Framing::None => true,
                Framing::Length(length) => {
                    let wanted = usize::try_from(length).unwrap_or(usize::MAX);
                    let take = (wanted - self.body.len()).min(self.buffer.len());
                    self.body.extend_from_slice(&self.buffer.split_to(take));
                    self.body.len() == wanted
                }
                Framing::Chunked => {
                    let progress = decoder
                        .decode(&self.buffer, &mut self.body, 1 << 20)
                        .map_err(|refused| refused.reason)?;
                    assert!(progress.done || progress.consumed == self.buffer.len());
                    drop(self.buffer.split_to(progress.consumed));
                    progress.done
                }
            };
            if !done {
                return Ok(true);
            }
            let keep_alive = head.keep_alive;
            self.messages.push(Message {
                method: head.method.to_string(),
                target: head.target.as_str().to_owned(),
                headers: head
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                    .collect(),
                body: std::mem::take(&mut self.body).to_vec(),
            });
            self.head = None;
            if !keep_alive {
                return Ok(false);
            }
        }
    }
}
