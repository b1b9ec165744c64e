//! An issuer of a few lines: it says where it is, and gives everybody the same token.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Starts it, and returns its URL without a slash at the end.
pub(super) fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let itself = url.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &itself);
        }
    });
    url
}

fn answer(stream: TcpStream, url: &str) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length, mut is_post) = (String::new(), 0, false);
    while reader.read_line(&mut line).unwrap() > 2 {
        is_post |= line.starts_with("POST ");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let token = "x".repeat(64);
    let body = if is_post {
        format!(
            r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":36000,"refresh_token":"rt"}}"#
        )
    } else {
        format!(
            r#"{{"issuer":"{url}/","authorization_endpoint":"{url}/auth","token_endpoint":"{url}/token","scopes_supported":["openid","offline_access"]}}"#
        )
    };
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    write!(reader.get_mut(), "{head}connection: close\r\n\r\n{body}").unwrap();
}
