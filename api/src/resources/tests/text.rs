use expect_test::{Expect, expect};

use super::*;
use crate::attributes::{self, Shown};
use crate::resources::parse_list;

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&match Resources::parse(text, "*") {
        Ok(resources) => resources.to_string(),
        Err(error) => error.to_string(),
    });
}

#[test]
fn the_form_of_the_flag() {
    check(
        "cpus:24;gpus:2;mem(prod):24576;disk:409600;ports:[21000-24000,30000-34000];bugs(dbg):{a,b,c}",
        expect![
            "cpus:24; gpus:2; mem(reservations: [(STATIC,prod)]):24576; disk:409600; ports:[21000-24000, 30000-34000]; bugs(reservations: [(STATIC,dbg)]):{a, b, c}"
        ],
    );
    check(" cpus : 1 ; mem ( prod ) : 2 ; ", expect!["cpus:1; mem(reservations: [(STATIC,prod)]):2"]);
    check("cpus:1;cpus:0.5;gpus:0", expect!["cpus:1.5"]);
    check("", expect!["{}"]);
}

#[test]
fn what_is_refused() {
    check("cpus", expect!["'cpus': write name:value or name(role):value, with one ':'"]);
    check("cpus:1:2", expect!["'cpus:1:2': write name:value or name(role):value, with one ':'"]);
    check(":1", expect!["':1': the name is missing"]);
    check("(a):1", expect!["'(a):1': the name is missing"]);
    check(
        "cpus(a:1",
        expect!["'cpus(a:1': a role stands in parentheses after the name, as in mem(prod):512"],
    );
    check(
        "cpus)a(:1",
        expect!["'cpus)a(:1': a role stands in parentheses after the name, as in mem(prod):512"],
    );
    check(
        "cpus(a)b:1",
        expect!["'cpus(a)b:1': a role stands in parentheses after the name, as in mem(prod):512"],
    );
    check("cpus():1", expect!["resource 'cpus': Role name must not be empty"]);
    check("cpus(a b):1", expect!["resource 'cpus': Role 'a b' contains the invalid character ' '"]);
    check(
        "cpus:much",
        expect!["'cpus:much': 'much' is text; write an amount (1.5), ranges ([1-10,20-30]) or a set ({a,b})"],
    );
    check("cpus:inf", expect!["'cpus:inf': inf is no finite number"]);
    check("cpus:-1", expect!["'cpus:-1': -1 is negative; an amount is zero or more"]);
    check("gpus:0.5", expect!["gpus:0.5: devices come whole"]);
    check("ports:[2-1]", expect!["'ports:[2-1]': range [2-1] ends before it begins"]);
    check("cpus:1;cpus(a):[1-2]", expect!["resource 'cpus' is given with two types"]);
}

#[test]
fn the_form_in_json() {
    check(
        r#"[{"name":"disk","type":"SCALAR","scalar":{"value":2048},"disk":{"source":{"type":"PATH","path":{"root":"/mnt/data"}}}}]"#,
        expect!["disk[PATH:/mnt/data]:2048"],
    );
    let cpus = |rest: &str| format!(r#"[{{"name":"cpus","type":"SCALAR","scalar":{{"value":1}}{rest}}}]"#);
    check(&cpus(r#","role":"web""#), expect!["cpus(reservations: [(STATIC,web)]):1"]);
    check(
        &cpus(r#","reservations":[{"type":"STATIC","role":"web"}]"#),
        expect!["cpus(reservations: [(STATIC,web)]):1"],
    );
    check(
        &cpus(r#","role":"web","reservation":{}"#),
        expect!["resource 'cpus' is reserved dynamically, which comes about only while an agent runs"],
    );
    check(
        &cpus(r#","reservations":[{"type":"DYNAMIC","role":"web"}]"#),
        expect!["resource 'cpus' is reserved dynamically, which comes about only while an agent runs"],
    );
    check(
        &cpus(r#","revocable":{}"#),
        expect!["resource 'cpus' is revocable, which comes about only while an agent runs"],
    );
    check(&cpus(r#","scalar":1"#), expect!["field `scalar`: expected an object, found the number 1"]);
    check(r#"[{"name":"cpus","scalar":{"value":1}}]"#, expect!["Missing required fields: type"]);
    check(
        r#"[{"name":"disk","type":"SCALAR","scalar":{"value":1},"role":"a","disk":{"persistence":{"id":"1"}}}]"#,
        expect!["resource 'disk' is a persistent volume, which comes about only while an agent runs"],
    );
    check(
        "{}",
        expect![[r#"resources in JSON are a list: [{"name":"cpus","type":"SCALAR","scalar":{"value":4}}]"#]],
    );
    check("[]", expect!["{}"]);
    let list = parse_list(&cpus(""), "web").unwrap();
    assert_eq!(list[0].to_string(), "cpus(reservations: [(STATIC,web)]):1");
}

#[test]
fn the_default_role_reserves_and_zeroes_are_seen() {
    let list = parse_list("cpus:1;gpus:0;mem(*):2", "web").unwrap();
    let printed: Vec<String> = list.iter().map(Entry::to_string).collect();
    assert_eq!(
        printed,
        ["cpus(reservations: [(STATIC,web)]):1", "gpus(reservations: [(STATIC,web)]):0", "mem:2"]
    );
}

fn attributes(text: &str, expected: Expect) {
    expected.assert_eq(&match attributes::parse(text) {
        Ok(list) => {
            let types: Vec<_> = list.iter().map(|attribute| attribute.r#type().as_str_name()).collect();
            format!("{} {} {}", types.join(" "), Shown(&list), serde_json::to_string(&Shown(&list)).unwrap())
        }
        Err(error) => error.to_string(),
    });
}

#[test]
fn attributes_are_told_by_their_looks() {
    attributes(
        "rack:abc;zone:west;level:10;keys:[1000-1500]",
        expect![[
            r#"TEXT TEXT SCALAR RANGES rack:abc;zone:west;level:10;keys:[1000-1500] {"rack":"abc","zone":"west","level":10.0,"keys":"[1000-1500]"}"#
        ]],
    );
    attributes(
        "url:http://a:80/\nn:-1;n:inf;n:2.5",
        expect![[
            r#"TEXT TEXT TEXT SCALAR url:http://a:80/;n:-1;n:inf;n:2.5 {"url":"http://a:80/","n":2.5}"#
        ]],
    );
    attributes("note: a b c ", expect![[r#"TEXT note:abc {"note":"abc"}"#]]);
    attributes("rack", expect!["'rack': write key:value, neither of them empty"]);
    attributes("rack:", expect!["'rack:': write key:value, neither of them empty"]);
    attributes(":abc", expect!["':abc': write key:value, neither of them empty"]);
    attributes("rack:{a,b}", expect!["'rack:{a,b}': an attribute is text, a number or ranges, not a set"]);
    attributes("keys:[1-", expect!["'keys:[1-': '[1-' opens a bracket and does not close it at its end"]);
    attributes("", expect!["  {}"]);
}
