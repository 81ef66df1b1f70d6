//! What flags become, and which are refused.

use super::*;

fn options(change: impl Fn(&mut Flags)) -> Result<allocator::Options, String> {
    let mut flags = Flags::default();
    change(&mut flags);
    flags.allocator().map_err(|error| error.to_string())
}

#[test]
fn the_allocator_is_told_what_the_flags_say() {
    let domain: DomainInfo =
        api::json::from_slice(br#"{"fault_domain":{"region":{"name":"r"},"zone":{"name":"z"}}}"#).unwrap();
    let options = options(|flags| {
        flags.allocator = "HierarchicalDRF".into();
        flags.role_sorter = "random".into();
        flags.framework_sorter = "random".into();
        flags.domain = Some(domain.clone());
        flags.allocator_recovery_timeout = Duration::from_secs(7);
        flags.allocator_agent_recovery_factor = 0.5;
        flags.headroom_scraps = true;
    })
    .unwrap();
    assert!(options.headroom_scraps);
    assert_eq!(options.sorter, SorterKind::Random);
    assert_eq!(options.region.as_deref(), Some("r"));
    assert_eq!(options.recovery_timeout, Duration::from_secs(7));
    assert_eq!(options.agent_recovery_factor, 0.5);
}

#[test]
fn the_defaults_are_the_allocators_own() {
    let (options, own) = (options(|_| {}).unwrap(), allocator::Options::default());
    assert_eq!(format!("{options:?}"), format!("{own:?}"));
}

#[test]
fn errors_say_what_would_be_right() {
    type Change = fn(&mut Flags);
    let wrong: [(Change, &str); 5] = [
        (
            |flags| flags.allocator = "org_example_Mine".into(),
            "`--allocator` is `org_example_Mine`; the allocator here is `hierarchical`, also called `HierarchicalDRF`",
        ),
        (|flags| flags.role_sorter = "fifo".into(), "`--role_sorter` is `fifo`; it is `drf` or `random`"),
        (
            |flags| flags.framework_sorter = "DRF".into(),
            "`--framework_sorter` is `DRF`; it is `drf` or `random`",
        ),
        (
            |flags| flags.role_sorter = "random".into(),
            "`--framework_sorter` is `drf`; it has to be that of `--role_sorter`, `random`",
        ),
        (
            |flags| flags.allocator_agent_recovery_factor = f64::NAN,
            "`--allocator_agent_recovery_factor` is `NaN`; it is a part of all agents, from 0 to 1",
        ),
    ];
    for (change, expected) in wrong {
        assert_eq!(options(change).unwrap_err(), expected);
    }
}

#[test]
fn rates_and_weights_are_read() {
    let rules = |rate: &str, weights: &str, roles: Option<&str>| {
        let flags = Flags {
            registry_in_memory: true,
            agent_removal_rate_limit: Some(rate.into()),
            weights: Some(weights.into()),
            roles: roles.map(|role| vec![role.to_owned()]),
            ..Flags::default()
        };
        flags.rules().map_err(|error| error.to_string())
    };
    let read = rules("10/2mins", " a = 2, b/c=0.5,", None).unwrap();
    assert_eq!(read.agent_removal_limit, Some((10, Duration::from_secs(120))));
    let read: Vec<_> = read.weights.iter().map(|it| (it.role().to_owned(), it.weight)).collect();
    assert_eq!(read, [("a".to_owned(), 2.0), ("b/c".to_owned(), 0.5)]);
    for rate in ["10", "0/1secs", "x/1secs", "1/0ns", "1/"] {
        let expected = format!(
            "`--agent_removal_rate_limit` is `{rate}`; it is a number of agents per time, such as `10/1mins`"
        );
        assert_eq!(rules(rate, "", None).unwrap_err(), expected);
    }
    for (weights, roles, expected) in [
        ("a", None, "it is a list of roles with their weights, such as `a=2,b=0.5`"),
        ("a=0", None, "the weight of `a` is a number above zero"),
        ("a=inf", None, "the weight of `a` is a number above zero"),
        ("a=1,a=2", None, "role `a` has one weight, not two"),
        ("a=1", Some("b"), "role `a` is not among `--roles`"),
        ("=1", None, "Role name must not be empty"),
    ] {
        let seen = rules("1/1secs", weights, roles).unwrap_err();
        assert_eq!(seen, format!("`--weights` is `{weights}`; {expected}"));
    }
}
