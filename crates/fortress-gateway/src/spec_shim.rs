use fortress_spec::{Operation, body::Responses};
pub(crate) trait Shim {
    fn declares_status(&self, _: u16) -> bool {
        true
    }
}
impl Shim for Operation {}
pub(crate) trait Shim3 {
    fn any_streams(&self) -> bool {
        false
    }
}
impl Shim3 for Responses {}
