//! Secure connections through the binary: authorities that the environment or the configuration names, and a certificate
//! to show.
//!
//! The certificates are those of `crates/providers/tests/tls`, good for tests alone. Start at [`server`].

use crate::world::{World, finish};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

fn file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../providers/tests/tls").join(name);
    path.canonicalize().unwrap().display().to_string()
}

/// A server of one list of models whose certificate is the tests' own authority's; does it want to see one too?
fn server(wants_certificate: bool) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match wants_certificate {
        false => builder.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = Arc::new(builder.with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever breaks off a handshake is nobody to answer.
            drop(answer(&config, stream));
        }
    });
    url
}

fn answer(config: &Arc<ServerConfig>, stream: TcpStream) -> std::io::Result<()> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let (mut tls, mut head) = (StreamOwned::new(connection, stream), Vec::new());
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let body = r#"{"data":[{"id":"m"}]}"#;
    let length = body.len();
    write!(
        tls,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    tls.conn.send_close_notify();
    tls.flush()
}

/// What `kapell models ours` says of a provider at this address.
fn listed(url: &str, more: &str, env: &[(&str, &str)]) -> Value {
    let world = World::new();
    let text = format!(
        "[providers.ours]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\nkey_env = \"OURS_API_KEY\"\n{more}"
    );
    world.write("kapell/config/config.toml", &text);
    let mut command = world.kapell(&["models", "ours", "--json"]);
    command.env("OURS_API_KEY", "sk-a-key-of-tls").envs(env.iter().copied());
    finish(command, b"").expect(0).json()["providers"][0].clone()
}

#[test]
fn an_authority_that_the_environment_names_is_trusted_and_an_unknown_one_says_where_it_goes() {
    let (url, ca) = (server(false), file("ca.pem"));
    let unknown = listed(&url, "", &[]);
    assert_eq!(unknown["error"]["code"], "tls-failed", "{unknown}");
    let hint = unknown["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("ca_file of [providers.ours]") && hint.contains("SSL_CERT_FILE"), "{hint}");
    assert_eq!(listed(&url, "", &[("SSL_CERT_FILE", &ca)])["usable"], true);
    assert_eq!(listed(&url, &format!("ca_file = \"{ca}\"\n"), &[])["usable"], true);
    // Another authority than the server's is none.
    let other = listed(&url, "", &[("SSL_CERT_FILE", &file("client.pem"))]);
    assert_eq!(other["error"]["code"], "tls-failed", "{other}");
}

#[test]
fn a_certificate_is_shown_where_one_is_wanted() {
    let (url, ca) = (server(true), file("ca.pem"));
    let env = [("SSL_CERT_FILE", &*ca)];
    let bare = listed(&url, "", &env);
    assert_eq!((&bare["usable"], &bare["error"]["code"]), (&false.into(), &"tls-failed".into()), "{bare}");
    let showing =
        format!("client_cert = \"{}\"\nclient_key = \"{}\"\n", file("client.pem"), file("client.key"));
    assert_eq!(listed(&url, &showing, &env)["usable"], true);
}
