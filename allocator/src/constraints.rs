//! Offer constraints: which agents a framework wants offers of, for each of its roles.
//!
//! They are checked and compiled once, when a framework subscribes; whoever subscribes it hands them in.

use std::collections::{BTreeMap, BTreeSet};

use api::v1::scheduler::attribute_constraint::selector::PseudoattributeType;
use api::v1::scheduler::attribute_constraint::{Predicate as PredicateProto, Selector as SelectorProto};
use api::v1::scheduler::{AttributeConstraint, OfferConstraints};
use api::v1::value::Type;
use api::v1::{Attribute, DomainInfo};
use regex::{Regex, RegexBuilder};
use regex_automata::nfa::thompson::{NFA, WhichCaptures};

/// What the tables that speed up matching may take beside a program, in bytes.
const TABLE_BYTES_MAX: usize = 64 << 10;

/// How large a regular expression may be once compiled. Matching takes time linear in the value and in the
/// program, so that this bounds what a framework can cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegexLimits {
    /// What its program may take, in bytes.
    pub bytes: usize,
    /// How many instructions its program may have: states of its nondeterministic automaton.
    pub instructions: usize,
}

impl Default for RegexLimits {
    fn default() -> Self {
        RegexLimits { bytes: 4096, instructions: 100 }
    }
}

/// The constraints of one framework, checked and compiled: for a role, groups of which one has to hold; in a group,
/// constraints all of which have to hold. A role that is absent takes every agent.
#[derive(Debug, Clone, Default)]
pub struct Constraints(BTreeMap<String, Vec<Vec<Constraint>>>);

#[derive(Debug, Clone)]
struct Constraint {
    selector: Selector,
    predicate: Predicate,
}

#[derive(Debug, Clone)]
enum Selector {
    Attribute(String),
    Hostname,
    Region,
    Zone,
}

#[derive(Debug, Clone)]
enum Predicate {
    Exists,
    NotExists,
    Equals { text: String, wanted: bool },
    Matches { regex: Regex, wanted: bool },
}

/// What constraints can ask about an agent.
#[derive(Debug, Clone, Copy)]
pub struct AgentView<'a> {
    /// `HOSTNAME`.
    pub hostname: &'a str,
    /// Of several by one name the first counts.
    pub attributes: &'a [Attribute],
    /// Where `REGION` and `ZONE` come from.
    pub domain: Option<&'a DomainInfo>,
}

/// What a selector finds on an agent.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    /// An attribute that is a number, ranges or a set.
    Other,
}

/// Every agent that is looked at for a framework may have to be held against all of its constraints.
const MAX_CONSTRAINTS: usize = 1000;

impl Constraints {
    /// [`Constraints::compile_within`] the usual limits.
    ///
    /// # Errors
    /// Says which role's constraints are wrong, and why.
    pub fn compile(constraints: &OfferConstraints, roles: &[String]) -> Result<Self, String> {
        Constraints::compile_within(constraints, roles, RegexLimits::default())
    }

    /// Checks and compiles. Roles must be among `roles`, regular expressions within `limits`.
    ///
    /// # Errors
    /// Says which role's constraints are wrong, and why.
    pub fn compile_within(
        constraints: &OfferConstraints,
        roles: &[String],
        limits: RegexLimits,
    ) -> Result<Self, String> {
        let roles: BTreeSet<&str> = roles.iter().map(String::as_str).collect();
        let groups = constraints.role_constraints.values().flat_map(|it| &it.groups);
        let n_constraints: usize = groups.map(|group| group.attribute_constraints.len().max(1)).sum();
        if n_constraints > MAX_CONSTRAINTS {
            return Err(format!(
                "There are {n_constraints} offer constraints; a framework has at most {MAX_CONSTRAINTS}"
            ));
        }
        let mut entries: Vec<_> = constraints.role_constraints.iter().collect();
        entries.sort_by_key(|(role, _)| role.as_str());
        let mut compiled = BTreeMap::new();
        for (role, constraints) in entries {
            if !roles.contains(role.as_str()) {
                return Err(format!(
                    "Offer constraints specify role '{role}' which is not contained in the list of roles"
                ));
            }
            let of_role = |why: String| format!("Offer constraints for role '{role}' are invalid: {why}");
            if constraints.groups.is_empty() {
                return Err(of_role("there is no group; to take every offer leave the role out".into()));
            }
            let mut groups = Vec::new();
            for group in &constraints.groups {
                if group.attribute_constraints.is_empty() {
                    return Err(of_role("a group is empty; it needs at least one constraint".into()));
                }
                let group = group.attribute_constraints.iter().map(|it| constraint(it, limits));
                groups.push(group.collect::<Result<_, _>>().map_err(of_role)?);
            }
            compiled.insert(role.clone(), groups);
        }
        Ok(Constraints(compiled))
    }

    /// Whether every agent will do, in every role.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are any for the role.
    pub fn is_for(&self, role: &str) -> bool {
        self.0.contains_key(role)
    }

    /// Whether the role wants offers of that agent: one of its groups holds, with all that is in it.
    pub fn allow(&self, role: &str, agent: AgentView<'_>) -> bool {
        let holds = |group: &Vec<Constraint>| group.iter().all(|constraint| constraint.holds(agent));
        self.0.get(role).is_none_or(|groups| groups.iter().any(holds))
    }
}

fn constraint(constraint: &AttributeConstraint, limits: RegexLimits) -> Result<Constraint, String> {
    Ok(Constraint {
        selector: selector(&constraint.selector)?,
        predicate: predicate(&constraint.predicate, limits)?,
    })
}

fn selector(selector: &SelectorProto) -> Result<Selector, String> {
    match (&selector.attribute_name, selector.pseudoattribute_type) {
        (Some(name), None) => Ok(Selector::Attribute(name.clone())),
        (None, Some(_)) => match selector.pseudoattribute_type() {
            PseudoattributeType::Hostname => Ok(Selector::Hostname),
            PseudoattributeType::Region => Ok(Selector::Region),
            PseudoattributeType::Zone => Ok(Selector::Zone),
            PseudoattributeType::Unknown => Err("there is no pseudo-attribute UNKNOWN".into()),
        },
        _ => Err("a selector has exactly one of 'attribute_name' and 'pseudoattribute_type'".into()),
    }
}

fn predicate(proto: &PredicateProto, limits: RegexLimits) -> Result<Predicate, String> {
    let mut all = Vec::new();
    if proto.exists.is_some() {
        all.push(Predicate::Exists);
    }
    if proto.not_exists.is_some() {
        all.push(Predicate::NotExists);
    }
    if let Some(equals) = &proto.text_equals {
        all.push(Predicate::Equals { text: equals.value.clone(), wanted: true });
    }
    if let Some(equals) = &proto.text_not_equals {
        all.push(Predicate::Equals { text: equals.value.clone(), wanted: false });
    }
    if let Some(matches) = &proto.text_matches {
        all.push(Predicate::Matches { regex: compile(&matches.regex, limits)?, wanted: true });
    }
    if let Some(matches) = &proto.text_not_matches {
        all.push(Predicate::Matches { regex: compile(&matches.regex, limits)?, wanted: false });
    }
    match all.pop() {
        Some(predicate) if all.is_empty() => Ok(predicate),
        _ => Err("a constraint has exactly one predicate".into()),
    }
}

/// The whole value has to match.
fn compile(regex: &str, limits: RegexLimits) -> Result<Regex, String> {
    let unusable = |why: String| format!("the regular expression '{regex}' cannot be used: {why}");
    let ascii = ascii_classes(regex);
    // By itself first: what is wrong with it must not be mended by what is put around it.
    let program = NFA::compiler()
        .configure(NFA::config().which_captures(WhichCaptures::None).nfa_size_limit(Some(limits.bytes)))
        .build(&ascii)
        .map_err(|error| match error.size_limit() {
            Some(limit) => unusable(format!("its program takes more than {limit} bytes")),
            None => {
                unusable(std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string))
            }
        })?;
    let n_instructions = program.states().len();
    if n_instructions > limits.instructions {
        let limit = limits.instructions;
        return Err(unusable(format!("its program has {n_instructions} instructions, more than {limit}")));
    }
    // With the anchors, and groups that are captured, it takes a little more than what was measured.
    let bytes = limits.bytes.saturating_mul(4).saturating_add(TABLE_BYTES_MAX);
    let anchored = format!("^(?:{ascii})$");
    let compiled = RegexBuilder::new(&anchored).size_limit(bytes).dfa_size_limit(TABLE_BYTES_MAX).build();
    compiled.map_err(|error| unusable(error.to_string()))
}

/// Schedulers write expressions for RE2, where `\d`, `\s`, `\w` and their opposites speak of ASCII. In Unicode a
/// `\w` alone would be a program of hundreds of instructions.
fn ascii_classes(regex: &str) -> String {
    let mut out = String::with_capacity(regex.len());
    let mut chars = regex.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        match escaped {
            // A class within a class is one of its parts.
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('s') => out.push_str(r"[\t\n\f\r ]"),
            Some('S') => out.push_str(r"[^\t\n\f\r ]"),
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            escaped => {
                out.push(c);
                out.extend(escaped);
            }
        }
    }
    out
}

impl Constraint {
    fn holds(&self, agent: AgentView<'_>) -> bool {
        let found = self.selector.find(agent);
        match (&self.predicate, found) {
            (Predicate::Exists, found) => !matches!(found, Found::Nothing),
            (Predicate::NotExists, found) => matches!(found, Found::Nothing),
            (Predicate::Equals { wanted, .. } | Predicate::Matches { wanted, .. }, Found::Nothing) => !wanted,
            (Predicate::Equals { text, wanted }, Found::Text(value)) => (value == text) == *wanted,
            (Predicate::Matches { regex, wanted }, Found::Text(value)) => regex.is_match(value) == *wanted,
            // Predicates on text say nothing about what is none.
            (Predicate::Equals { .. } | Predicate::Matches { .. }, Found::Other) => true,
        }
    }
}

impl Selector {
    fn find<'a>(&self, agent: AgentView<'a>) -> Found<'a> {
        let text = |text: Option<&'a str>| text.map_or(Found::Nothing, Found::Text);
        let domain = agent.domain.and_then(|DomainInfo { fault_domain }| fault_domain.as_ref());
        match self {
            Selector::Hostname => Found::Text(agent.hostname),
            Selector::Region => text(domain.map(|it| it.region.name.as_str())),
            Selector::Zone => text(domain.map(|it| it.zone.name.as_str())),
            Selector::Attribute(name) => match agent.attributes.iter().find(|it| it.name == *name) {
                None => Found::Nothing,
                Some(it) if it.r#type() == Type::Text => {
                    Found::Text(it.text.as_ref().map_or("", |text| &text.value))
                }
                Some(_) => Found::Other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, predicate: &str) -> Result<bool, String> {
        let json = format!(
            r#"{{"role_constraints": {{"*": {{"groups": [{{"attribute_constraints": [{{"selector": {selector}, "predicate": {predicate}}}]}}]}}}}}}"#
        );
        let constraints: OfferConstraints = api::json::from_slice(json.as_bytes()).unwrap();
        let attributes = api::attributes::parse("rack:r1;size:3").unwrap();
        let agent = AgentView { hostname: "node-7", attributes: &attributes, domain: None };
        Ok(Constraints::compile(&constraints, &["*".into()])?.allow("*", agent))
    }

    #[test]
    fn predicates_on_what_is_there_what_is_not_and_what_is_no_text() {
        let attribute = |name: &str| format!(r#"{{"attribute_name": "{name}"}}"#);
        let value =
            |kind: &str, value: &str| format!(r#"{{"{kind}": {{"value": "{value}", "regex": "{value}"}}}}"#);
        for (predicate, text, missing, number) in [
            (r#"{"exists": {}}"#.to_owned(), true, false, true),
            (r#"{"not_exists": {}}"#.to_owned(), false, true, false),
            (value("text_equals", "r1"), true, false, true),
            (value("text_not_equals", "r1"), false, true, true),
            (value("text_matches", "r[0-9]"), true, false, true),
            (value("text_matches", "r"), false, false, true),
            (value("text_not_matches", "r[0-9]"), false, true, true),
        ] {
            assert_eq!(check(&attribute("rack"), &predicate), Ok(text), "{predicate}");
            assert_eq!(check(&attribute("nothing"), &predicate), Ok(missing), "{predicate}");
            assert_eq!(check(&attribute("size"), &predicate), Ok(number), "{predicate}");
        }
        let hostname = r#"{"pseudoattribute_type": "HOSTNAME"}"#;
        assert_eq!(check(hostname, &value("text_matches", "node-.*")), Ok(true));
        assert_eq!(check(r#"{"pseudoattribute_type": "ZONE"}"#, r#"{"exists": {}}"#), Ok(false));
    }

    #[test]
    fn one_group_has_to_hold_with_all_that_is_in_it() {
        let is = |name: &str, text: &str| {
            format!(
                r#"{{"selector": {{"attribute_name": "{name}"}}, "predicate": {{"text_equals": {{"value": "{text}"}}}}}}"#
            )
        };
        let (rack, zone, other) = (is("rack", "r1"), is("zone", "z1"), is("rack", "r2"));
        let json = format!(
            r#"{{"role_constraints": {{"r": {{"groups": [
                {{"attribute_constraints": [{rack}, {zone}]}}, {{"attribute_constraints": [{other}]}}
            ]}}}}}}"#
        );
        let constraints: OfferConstraints = api::json::from_slice(json.as_bytes()).unwrap();
        let constraints = Constraints::compile(&constraints, &["r".into(), "s".into()]).unwrap();
        let allows = |role: &str, attributes: &str| {
            let attributes = api::attributes::parse(attributes).unwrap();
            constraints.allow(role, AgentView { hostname: "h", attributes: &attributes, domain: None })
        };
        assert!(allows("r", "rack:r1;zone:z1"), "all of the first group");
        assert!(!allows("r", "rack:r1"), "a part of the first group");
        assert!(allows("r", "rack:r2"), "the second group");
        assert!(allows("s", "rack:r9"), "a role without constraints");
        // Of several attributes by one name the first counts.
        assert!(allows("r", "rack:r2;rack:r9") && !allows("r", "rack:r9;rack:r2"));
    }

    #[test]
    fn region_and_zone_are_found_in_the_domain() {
        use api::v1::domain_info::{FaultDomain, fault_domain};
        let region = fault_domain::RegionInfo { name: "north".to_owned() };
        let zone = fault_domain::ZoneInfo { name: "n1".to_owned() };
        let domain = DomainInfo { fault_domain: Some(FaultDomain { region, zone }) };
        for (selector, text) in [("REGION", "north"), ("ZONE", "n1")] {
            let json = format!(
                r#"{{"role_constraints": {{"*": {{"groups": [{{"attribute_constraints": [{{
                    "selector": {{"pseudoattribute_type": "{selector}"}},
                    "predicate": {{"text_equals": {{"value": "{text}"}}}}
                }}]}}]}}}}}}"#
            );
            let constraints: OfferConstraints = api::json::from_slice(json.as_bytes()).unwrap();
            let constraints = Constraints::compile(&constraints, &["*".into()]).unwrap();
            let at = |domain| AgentView { hostname: "h", attributes: &[], domain };
            assert!(
                constraints.allow("*", at(Some(&domain))) && !constraints.allow("*", at(None)),
                "{selector}"
            );
        }
    }

    #[test]
    fn there_are_not_too_many() {
        let one = r#"{"selector": {"attribute_name": "a"}, "predicate": {"exists": {}}}"#;
        let many = vec![one; 1001].join(",");
        let json = format!(
            r#"{{"role_constraints": {{"*": {{"groups": [{{"attribute_constraints": [{many}]}}]}}}}}}"#
        );
        let constraints: OfferConstraints = api::json::from_slice(json.as_bytes()).unwrap();
        let error = Constraints::compile(&constraints, &["*".into()]).unwrap_err();
        assert_eq!(error, "There are 1001 offer constraints; a framework has at most 1000");
    }

    #[test]
    fn what_cannot_be_a_constraint() {
        let exists = r#"{"exists": {}}"#;
        for (selector, predicate, why) in [
            ("{}", exists, "exactly one of"),
            (r#"{"attribute_name": "a", "pseudoattribute_type": "ZONE"}"#, exists, "exactly one of"),
            (r#"{"attribute_name": "a"}"#, "{}", "exactly one predicate"),
            (r#"{"attribute_name": "a"}"#, r#"{"exists": {}, "not_exists": {}}"#, "exactly one predicate"),
            (r#"{"attribute_name": "a"}"#, r#"{"text_matches": {"regex": "("}}"#, "cannot be used"),
            (r#"{"attribute_name": "a"}"#, r#"{"text_matches": {"regex": "a)|(b"}}"#, "cannot be used"),
            (
                r#"{"attribute_name": "a"}"#,
                r#"{"text_matches": {"regex": "(.{100}){100}"}}"#,
                "takes more than 4096 bytes",
            ),
            (
                r#"{"attribute_name": "a"}"#,
                r#"{"text_matches": {"regex": "a{98}"}}"#,
                "has 101 instructions, more than 100",
            ),
        ] {
            let error = check(selector, predicate).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let empty: OfferConstraints = api::json::from_slice(br#"{"role_constraints": {"*": {}}}"#).unwrap();
        assert!(Constraints::compile(&empty, &["*".into()]).unwrap_err().contains("no group"));
        assert!(Constraints::compile(&empty, &["a".into()]).unwrap_err().contains("not contained"));
    }

    #[test]
    fn classes_of_perl_are_ascii_and_whole_values_match() {
        let matches = |regex: &str, value: &str| {
            compile(regex, RegexLimits::default()).map(|regex| regex.is_match(value))
        };
        for (regex, value, expected) in [
            (r"r\d+", "r12", true),
            (r"r\d+", "xr12", false),
            (r"[\w-]+", "a_9-b", true),
            (r"\w+", "é", false),
            (r"\D\S\W", "aé ", true),
            (r"[^\d]", "1", false),
            (r"\\d", r"\d", true),
            (r"(\w+\.)*example\.com", "a.b.example.com", true),
            (".", "é", true),
        ] {
            assert_eq!(matches(regex, value), Ok(expected), "{regex} on {value}");
        }
        let tight = RegexLimits { bytes: 4096, instructions: 5 };
        assert!(compile("abcdef", tight).unwrap_err().contains("more than 5"));
        let wide = RegexLimits { bytes: 1 << 20, instructions: 10_000 };
        assert!(compile(".{400}", wide).is_ok());
    }
}
