//! Following the leader over real connections.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod common;

use std::time::{Duration, Instant};

use common::{FakeContender, Owner, leader};
use libprocess::{Node, Pid};

const DEADLINE: Duration = Duration::from_secs(30);

fn node() -> Node {
    Node::builder().listen("127.0.0.1:0").start().unwrap()
}

struct Watched(Pid<Owner>);

impl Watched {
    fn new(node: &Node, masters: &str) -> Watched {
        Watched(node.spawn("owner", Owner::of(masters)).unwrap())
    }

    fn told(&self) -> Vec<Option<String>> {
        self.0.dispatch(|owner, _| owner.told.clone()).wait(DEADLINE).unwrap()
    }

    #[track_caller]
    fn follows(&self, id: Option<&str>) -> Duration {
        let begin = Instant::now();
        while self.told().last().map(Option::as_deref) != Some(id) {
            assert!(begin.elapsed() < DEADLINE, "wanted {id:?}, was told {:?}", self.told());
            std::thread::sleep(Duration::from_millis(1));
        }
        begin.elapsed()
    }
}

#[test]
fn a_leader_that_dies_is_followed_by_the_one_the_others_name() {
    let (home, first, second) = (node(), node(), node());
    let one = leader(first.address(), "one");
    let mut contender = FakeContender::saying(1, one.clone());
    contender.masters = vec![first.address().to_string(), second.address().to_string()];
    first.spawn("contender", contender).unwrap();
    let standby = second.spawn("contender", FakeContender::saying(1, one)).unwrap();
    // The second is known from what the first says.
    let watched = Watched::new(&home, &format!("{},127.0.0.1:1", first.address()));
    watched.follows(Some("one"));
    let begin = Instant::now();
    while standby.dispatch(|it, _| it.watchers.is_empty()).wait(DEADLINE).unwrap() {
        assert!(begin.elapsed() < DEADLINE, "nobody asks the second");
    }
    first.shutdown().wait(DEADLINE).unwrap();
    let two = leader(second.address(), "two");
    standby.call(|it, ctx| it.says(2, two, ctx));
    watched.follows(Some("two"));
    assert_eq!(watched.told().len(), 2);
}

#[test]
fn a_file_is_read_again() {
    let (home, first, second) = (node(), node(), node());
    let (one, two) = (leader(first.address(), "one"), leader(second.address(), "two"));
    first.spawn("contender", FakeContender::saying(7, one)).unwrap();
    second.spawn("contender", FakeContender::saying(1, two)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("masters");
    let names = |text: &str| std::fs::write(&path, text).unwrap();
    names(&format!("{}\n", first.address()));
    let watched = Watched::new(&home, &format!("file://{}", path.display()));
    watched.follows(Some("one"));
    // What is no list of masters changes nothing; another list does.
    home.clock().pause();
    let wait = || {
        home.clock().advance(Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(20));
    };
    names("nobody:here");
    wait();
    assert_eq!(watched.told().len(), 1);
    names(&format!("{}\n", second.address()));
    let begin = Instant::now();
    while watched.told().last() != Some(&Some("two".to_owned())) {
        assert!(begin.elapsed() < DEADLINE, "was told {:?}", watched.told());
        wait();
    }
    home.clock().resume();
}

#[test]
fn a_lone_master_without_a_contender_is_its_own_announcement() {
    let (home, master) = (node(), node());
    let watched = Watched::new(&home, &master.address().to_string());
    watched.follows(Some(""));
    // And one that nobody is behind.
    let watched = Watched(home.spawn("owner(2)", Owner::of("127.0.0.1:1")).unwrap());
    watched.follows(Some(""));
}

#[test]
fn a_master_that_advertises_another_address_is_followed_by_that() {
    let home = node();
    let port = {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let advertised = std::net::SocketAddr::from(([127, 0, 0, 2], port));
    let master = Node::builder().listen(format!("0.0.0.0:{port}")).advertise(advertised).start().unwrap();
    let mut contender = FakeContender::saying(1, leader(advertised, "one"));
    contender.masters = vec![advertised.to_string()];
    let contender = master.spawn("contender", contender).unwrap();
    let watched = Watched::new(&home, &format!("127.0.0.1:{port}"));
    watched.follows(Some("one"));
    let asked = || contender.dispatch(|it, _| (it.asked, it.watchers.len())).wait(DEADLINE).unwrap();
    // Under that address, too, twice: as the one that was reached, and as the one it speaks of itself.
    let begin = Instant::now();
    while asked() != (3, 1) {
        assert!(begin.elapsed() < DEADLINE, "{:?}", asked());
    }
    // The other side ends the first one. Nothing follows from that.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((asked(), watched.told().len()), ((3, 1), 1));
}
