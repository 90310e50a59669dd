//! The proxy with real sockets on loopback: who may be reached, and what passes through.

use super::*;

/// A host that answers the first connection with `answer` and returns what it was sent.
fn host(answer: &'static [u8]) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (stream, _) = listener.accept().unwrap();
        let (head, _) = read_head(&stream).unwrap().unwrap();
        (&stream).write_all(answer).unwrap();
        String::from_utf8(head).unwrap()
    };
    (address, std::thread::spawn(serve))
}

fn proxy(allowed: &[String], max_bytes: u64) -> (SocketAddr, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let allowed: Vec<_> = allowed.iter().map(|text| text.parse().unwrap()).collect();
    (address, Proxy::with_limit(listener, &allowed, &Upstreams::default(), max_bytes).unwrap())
}

/// Sends a request to a proxy and returns all that comes back.
fn ask(proxy: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_is_allowed_is_passed_on_in_both_ways() {
    let (address, served) = host(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let (at, proxy) = proxy(&[address.to_string()], 1000);
    let answer = ask(at, &format!("GET http://{address}/x HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert_eq!(
        served.join().unwrap(),
        format!("GET /x HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
    );

    let (address, served) = host(b"in the tunnel");
    let (at, _other) = self::proxy(&[address.to_string()], 1000);
    let answer = ask(at, &format!("CONNECT {address} HTTP/1.1\r\n\r\nthrough\r\n\r\n"));
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nin the tunnel");
    assert_eq!(served.join().unwrap(), "through\r\n\r\n");
    assert_eq!(proxy.refusals(), []);
}

#[test]
fn a_host_on_this_machine_is_not_reached_by_any_of_its_names() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let names = ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]"];
    for name in names {
        let (at, proxy) = proxy(&["other.example".to_owned(), format!("127.0.0.2:{port}")], 1000);
        for request in [
            format!("GET http://{name}:{port}/ HTTP/1.1\r\n\r\n"),
            format!("CONNECT {name}:{port} HTTP/1.1\r\n\r\n"),
        ] {
            let answer = ask(at, &request);
            assert!(answer.starts_with("HTTP/1.1 403 "), "{name}: {answer}");
            assert!(answer.contains("an evaluation may not connect to"), "{name}: {answer}");
        }
        let refusals = proxy.refusals();
        assert!(matches!(refusals.as_slice(), [Refusal::Reserved { .. }]), "{refusals:?}");
    }
    // Not every program takes these for addresses of this machine; so they are no hosts at all.
    for name in ["127.1", "2130706433", "0x7f.1", "0", "0177.0.0.1"] {
        let (at, _proxy) = proxy(&[], 1000);
        let answer = ask(at, &format!("GET http://{name}:{port}/ HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
    }
    assert!(listener.accept().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
}

/// Sends requests to a proxy behind which stands the operator's; returns what that one is sent.
fn sent_upstream(request: &str) -> String {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let variable = format!("http://me:secret@{}", upstream.local_addr().unwrap());
    let environment = [("http_proxy".to_owned(), variable.into())].into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let _proxy = Proxy::start(listener, &[], &Upstreams::read(&environment)).unwrap();
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    if request.contains("\n\n") {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        upstream.set_nonblocking(true).unwrap();
        assert!(upstream.accept().is_err(), "{answer}");
        return answer;
    }
    let (mut stream, _) = upstream.accept().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_operator_s_own_proxy_gets_one_request_for_each_that_is_checked() {
    let other = "GET http://10.0.0.1/secret HTTP/1.1";
    // Inside a header of the first, where another program's line may end.
    let hidden = format!("GET http://1.1.1.1/ HTTP/1.1\r\nA: b\n\n{other}\nB: c\r\n\r\n");
    let answer = sent_upstream(&hidden);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // Behind the first.
    let sent = sent_upstream(&format!(
        "POST http://1.1.1.1/ HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi{other}\r\n\r\n"
    ));
    assert!(sent.starts_with("POST http://1.1.1.1:80/ HTTP/1.1\r\nHost: 1.1.1.1\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\nhi"), "{sent}");
}

#[test]
fn a_refusal_names_the_host_the_rule_and_what_to_type() {
    let refusal = Refusal::Reserved { host: "h".into(), port: 80, rule: "a private address" };
    assert_eq!(
        refusal.to_string(),
        "an evaluation may not connect to `h`, port 80: it is a private address\nhint: pass `--allow-host h:80` if evaluations may reach that host"
    );
}

#[test]
fn too_much_is_cut_off_and_said() {
    let (address, served) = host(&[b'a'; 100]);
    let (at, proxy) = proxy(&[address.to_string()], 99);
    assert_eq!(ask(at, &format!("GET http://{address}/ HTTP/1.1\r\n\r\n")), "");
    served.join().unwrap();
    let host = address.ip().to_string();
    assert_eq!(proxy.refusals(), [Refusal::TooMuch { host, limit: 99 }]);
}

#[test]
fn nonsense_is_answered_and_an_end_is_no_error() {
    let (at, proxy) = proxy(&[], 1000);
    assert!(ask(at, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(
        ask(at, "CONNECT no.such.host.invalid:1 HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 502 ")
    );
    let gone = TcpStream::connect(at).unwrap();
    drop(gone);
    drop(proxy);
    // Nobody listens any more, so nothing of it is left.
    assert!(TcpStream::connect(at).is_err() || ask(at, "GET / HTTP/1.1\r\n\r\n").is_empty());
}

#[test]
fn the_operator_s_own_proxy_is_asked_but_not_for_what_is_refused() {
    let (upstream, served) = host(b"HTTP/1.1 200 OK\r\n\r\n");
    let variable = format!("http://me:secret@{upstream}");
    let environment = [("all_proxy".to_owned(), variable.into())].into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let proxy = Proxy::start(listener, &[], &Upstreams::read(&environment)).unwrap();
    assert!(ask(at, "CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 403 "));
    let answer = ask(at, "CONNECT no.such.host.invalid:443 HTTP/1.1\r\n\r\n");
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\n");
    let head = served.join().unwrap();
    assert!(head.starts_with("CONNECT no.such.host.invalid:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{head}");
    assert_eq!(proxy.refusals().len(), 1);
}

#[test]
fn a_name_that_leads_to_several_hosts_leads_only_to_those_that_may_be_reached() {
    let (reachable, other) = (host(b""), TcpListener::bind("127.0.0.2:0").unwrap());
    other.set_nonblocking(true).unwrap();
    let refused = other.local_addr().unwrap();
    let (_, proxy) = proxy(&[reachable.0.to_string()], 1000);
    let asked = Asked { host: "both.example".into(), port: 80, forward: None };
    let connect = |addresses: &[SocketAddr]| {
        proxy.shared.connect_to_one_of(&asked, addresses.iter().copied())
    };
    let connected = connect(&[refused, reachable.0]).unwrap();
    assert_eq!(connected.peer_addr().unwrap(), reachable.0);
    let nowhere = connect(&[refused]);
    assert!(matches!(nowhere, Err(Unreachable::Refused(Refusal::Reserved { .. }))));
    assert!(other.accept().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    (&connected).write_all(b"\r\n\r\n").unwrap();
    reachable.1.join().unwrap();
}

#[test]
fn a_program_that_chooses_an_address_itself_may_have_no_wrong_one() {
    let refused = |addresses: &[&str], allowed: &[&str]| {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let allowed: Vec<_> = allowed.iter().map(|text| text.parse().unwrap()).collect();
        refusal("h.example", 22, &addresses, &allowed)
    };
    let (host, port) = ("h.example".to_owned(), 22);
    assert_eq!(refused(&["1.1.1.1:22"], &[]), None);
    let rule = "a loopback address";
    let reserved = Refusal::Reserved { host: host.clone(), port, rule };
    assert_eq!(refused(&["1.1.1.1:22", "127.0.0.1:22"], &[]), Some(reserved));
    assert_eq!(refused(&["127.0.0.1:22"], &["h.example"]), None);
    assert_eq!(refused(&["10.0.0.1:22"], &["10.0.0.1:22"]), None);
    assert!(refused(&["10.0.0.1:22"], &["10.0.0.1:80"]).is_some());
    assert_eq!(refused(&[], &[]), Some(Refusal::Unknown { host, port }));
}
