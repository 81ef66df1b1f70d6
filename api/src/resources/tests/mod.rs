mod arithmetic;
mod laws;
mod reservations;
mod task;
mod text;

use super::{Entry, Resources};
use crate::v1;
use crate::v1::resource::disk_info::{Persistence, Source, source};
use crate::v1::resource::{DiskInfo, ReservationInfo, RevocableInfo, SharedInfo, reservation_info};

fn resources(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

fn message(text: &str) -> v1::Resource {
    v1::Resource::from(resources(text).iter().next().unwrap())
}

fn entry(message: &v1::Resource) -> Entry {
    Entry::try_from(message).unwrap()
}

fn dynamic(role: &str) -> ReservationInfo {
    let r#type = Some(reservation_info::Type::Dynamic.into());
    ReservationInfo { r#type, role: Some(role.to_owned()), ..Default::default() }
}

fn volume(text: &str, id: &str) -> v1::Resource {
    let persistence = Some(Persistence { id: id.to_owned(), principal: None });
    v1::Resource { disk: Some(Box::new(DiskInfo { persistence, ..Default::default() })), ..message(text) }
}

fn mount(text: &str, root: &str) -> v1::Resource {
    let mount = Some(source::Mount { root: Some(root.to_owned()) });
    let source = Some(Source { r#type: source::Type::Mount.into(), mount, ..Default::default() });
    v1::Resource { disk: Some(Box::new(DiskInfo { source, ..Default::default() })), ..message(text) }
}

fn path(text: &str, root: &str) -> v1::Resource {
    let path = Some(source::Path { root: Some(root.to_owned()) });
    let source = Some(Source { r#type: source::Type::Path.into(), path, ..Default::default() });
    v1::Resource { disk: Some(Box::new(DiskInfo { source, ..Default::default() })), ..message(text) }
}

fn revocable(text: &str) -> v1::Resource {
    v1::Resource { revocable: Some(RevocableInfo {}), ..message(text) }
}

fn shared(volume: v1::Resource) -> v1::Resource {
    v1::Resource { shared: Some(SharedInfo {}), ..volume }
}
