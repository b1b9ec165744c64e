//! Every edge from one way to the next, as a row.

use tokio::net::TcpListener;

use super::*;
use crate::clock::Clock;
use crate::flyte::Plaintext;
use crate::flyte::message::PublicClientConfig;
use crate::flyte::scripted_grpc::{Canned, ScriptedFlyte};

const ISSUER: &str = "https://login.example.com";
const GRPC: &str = "/flyteidl.service.AuthMetadataService/GetOAuth2Metadata";
const GRPC_CLIENT: &str = "/flyteidl.service.AuthMetadataService/GetPublicClientConfig";
const CONNECT: &str = "/flyteidl2.auth.AuthMetadataService/GetOAuth2Metadata";
const CONNECT_CLIENT: &str = "/flyteidl2.auth.AuthMetadataService/GetPublicClientConfig";
const GATEWAY: &str = "/.well-known/oauth-authorization-server";
const GATEWAY_CLIENT: &str = "/config/v1/flyte_client";

async fn ask(endpoint: Endpoint) -> Result<Said, Failure> {
    let asker = Asker::new(endpoint, Http::new().unwrap(), &Transport::default());
    asker.ask(Clock::system().now()).await
}

fn said() -> Said {
    Said::example(ISSUER)
}

#[tokio::test]
async fn each_way_says_all_that_there_is_and_the_first_that_works_is_the_last_asked() {
    type Say = fn(&ScriptedFlyte, &Said);
    let rows: [(Say, &[&str]); 3] = [
        (ScriptedFlyte::say_by_grpc, &[GRPC, GRPC_CLIENT]),
        (ScriptedFlyte::say_by_connect, &[GRPC, CONNECT, CONNECT_CLIENT]),
        (ScriptedFlyte::say_by_gateway, &[GRPC, CONNECT, GATEWAY, GATEWAY_CLIENT]),
    ];
    for (say, asked) in rows {
        let flyte = ScriptedFlyte::start().await;
        say(&flyte, &said());
        assert_eq!(ask(flyte.endpoint()).await, Ok(said()));
        assert_eq!(flyte.asked(), asked);
    }
}

#[tokio::test]
async fn whatever_a_way_answers_instead_leads_on_to_the_next() {
    let page = || Canned::json(200, "<!doctype html><title>Flyte</title>");
    for canned in [
        Canned::grpc_error(12),
        Canned::grpc_error(14),
        Canned::grpc_error(16),
        Canned::grpc_error(2),
        Canned { status: 200, grpc_status: Some(0), body: b"\0\0\0\0\x02\xff\xff".to_vec() },
        // One that says it is 1 MiB long.
        Canned { status: 200, grpc_status: Some(0), body: b"\0\0\x10\0\0".to_vec() },
        Canned::json(503, ""),
        page(),
    ] {
        let flyte = ScriptedFlyte::start().await;
        flyte.say_by_connect(&said());
        flyte.set(GRPC, canned.clone());
        assert_eq!(ask(flyte.endpoint()).await, Ok(said()), "{canned:?}");
    }
    for canned in [
        Canned::json(404, ""),
        Canned::json(405, ""),
        Canned::json(415, ""),
        Canned::json(501, r#"{"code":"unimplemented"}"#),
        Canned::json(503, ""),
        Canned::json(302, ""),
        Canned::json(200, "[]"),
        page(),
    ] {
        for path in [CONNECT, CONNECT_CLIENT] {
            let flyte = ScriptedFlyte::start().await;
            flyte.say_by_connect(&said());
            flyte.say_by_gateway(&said());
            flyte.set(path, canned.clone());
            assert_eq!(ask(flyte.endpoint()).await, Ok(said()), "{path} {canned:?}");
        }
    }
}

#[tokio::test]
async fn metadata_without_a_client_are_enough_where_a_version_2_has_no_more() {
    let flyte = ScriptedFlyte::start().await;
    flyte.say_by_gateway(&said());
    flyte.set(GATEWAY_CLIENT, Canned::json(404, ""));
    assert_eq!(ask(flyte.endpoint()).await, Ok(Said { client: PublicClientConfig::default(), ..said() }));
    flyte.set(GATEWAY_CLIENT, Canned::json(503, ""));
    assert!(matches!(ask(flyte.endpoint()).await, Err(Failure::Transient { .. })));
}

#[tokio::test]
async fn when_no_way_works_the_sentence_says_what_each_said_and_what_to_check() {
    let page = || Canned::json(200, "<!doctype html><title>Flyte</title>");
    let flyte = ScriptedFlyte::start().await;
    let host = flyte.endpoint().host().to_owned();
    let failure = ask(flyte.endpoint()).await.unwrap_err();
    assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
    assert_eq!(
        failure.to_string(),
        format!(
            "{host} does not say how to log in (gRPC: unimplemented; Connect: status 404; HTTP: status 404): check that \
             flyte has the Flyte API's host and port"
        )
    );

    flyte.set(GATEWAY, page());
    let failure = ask(flyte.endpoint()).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure}");
    assert_eq!(
        failure.to_string(),
        format!(
            "{host} does not say how to log in (gRPC: unimplemented; Connect: status 404; HTTP: an HTML page): it may be \
             a console's address, or a proxy is in the way: check flyte"
        )
    );

    flyte.clear();
    flyte.set(GRPC, Canned::grpc_error(14));
    let failure = ask(flyte.endpoint()).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure}");
    assert!(failure.to_string().contains("(gRPC: unavailable; Connect: status 404;"), "{failure}");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_asked_by_no_third_way() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = Endpoint::parse(&closed.to_string(), Plaintext::Wanted).unwrap();
    let failure = ask(endpoint).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure}");
    let sentence = failure.to_string();
    assert!(sentence.starts_with(&format!("{closed} could not be reached: ")), "{sentence}");
    assert!(!sentence.contains("HTTP:"), "{sentence}");
}

#[tokio::test]
async fn a_host_that_never_answers_is_given_up_by_each_way() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::parse(&silent.local_addr().unwrap().to_string(), Plaintext::Wanted).unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(silent.accept().await.unwrap());
            if held.len() == 1 {
                tokio::time::pause();
            }
        }
    });
    let failure = ask(endpoint).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure}");
    assert!(
        failure.to_string().contains("(gRPC: not within 6s; Connect: not within 6s; HTTP: not within 6s)"),
        "{failure}"
    );
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_blamed_at_once() {
    let flyte = ScriptedFlyte::start().await;
    let trust = crate::oauth::transport::Trust::AlsoFile("/nonexistent/ca.pem".into());
    let transport = Transport { trust, ..Transport::default() };
    let http = Http::new().unwrap().under(&transport);
    let asker = Asker::new(flyte.endpoint(), http, &transport);
    let failure = asker.ask(Clock::system().now()).await.unwrap_err();
    assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
    assert!(failure.to_string().contains("is not asked: tls.ca_file /nonexistent/ca.pem"), "{failure}");
    assert!(flyte.asked().is_empty());
}
