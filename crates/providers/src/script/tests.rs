//! The script model, by its port: what it says, when, and what it says about a bad script.

use super::*;
use contract::port::Quiet;
use serde_json::json;

fn request(ordinal: u32, messages: Vec<Message>) -> Request {
    Request {
        model: "builtin/script:test".into(),
        system: String::new(),
        messages,
        tools: Vec::new(),
        max_tokens: 1_000,
        ordinal,
        key: format!("s/1.{ordinal}"),
    }
}

async fn ask(toml: &str, ordinal: u32, last: &str) -> Result<Reply, Fault> {
    let script = Script::parse(toml, "play.toml").unwrap();
    let message = Message::result("c", true, last);
    script
        .respond(request(ordinal, vec![message]), Cancel::new(), &Quiet)
        .await
        .map_err(|broken| broken.fault)
}

fn refused(toml: &str) -> String {
    Script::parse(toml, "play.toml").unwrap_err().to_string()
}

#[tokio::test]
async fn calls_are_played_with_their_templates() {
    let toml = r#"
        [[turn]]
        text = "saw {{last}} at {{step}}/{{n}}"
        usage = { input = 10, output = 2 }
        [[turn.call]]
        tool = "edit"
        args = { path = "f{{n}}", edits = [{ old = "{{last}}", new = "x" }], all = true, n = 3 }
        [[turn.call]]
        tool = "shell"
        id = "mine"
        raw_args = "{ not json"
    "#;
    let reply = ask(toml, 0, "L{{n}}").await.unwrap();
    assert_eq!(reply.text, "saw L{{n}} at 1/1");
    assert_eq!(
        (reply.stop, reply.usage),
        (Stop::ToolUse, Usage { input: 10, output: 2, ..Usage::default() })
    );
    assert_eq!(reply.calls[0].id, "call-1-1");
    assert_eq!(
        reply.calls[0].args,
        json!({"path": "f1", "edits": [{"old": "L{{n}}", "new": "x"}], "all": true, "n": 3})
    );
    assert_eq!((reply.calls[1].id.as_str(), &reply.calls[1].args), ("mine", &json!("{ not json")));
}

#[tokio::test]
async fn the_ordinal_is_the_position_and_repeats_count() {
    let toml = "[[turn]]\ntext = \"a{{n}}\"\nrepeat = 3\n[[turn]]\ntext = \"b\"\nstop = \"max-tokens\"\n";
    let mut said = Vec::new();
    for ordinal in [0, 1, 2, 2, 3, 4, 99] {
        said.push(ask(toml, ordinal, "").await.unwrap());
    }
    let texts: Vec<_> = said.iter().map(|reply| reply.text.as_str()).collect();
    assert_eq!(texts, ["a1", "a2", "a3", "a3", "b", "script ended", "script ended"]);
    assert_eq!((said[4].stop, said[5].stop), (Stop::MaxTokens, Stop::EndTurn));
}

#[tokio::test]
async fn expectations_make_a_script_a_test() {
    let toml = "[[turn]]\nexpect = \"ok\"\ntext = \"fine\"\n";
    assert_eq!(ask(toml, 0, "all ok").await.unwrap().text, "fine");
    let fault = ask(toml, 0, "failed").await.unwrap_err();
    assert_eq!((fault.kind, fault.code.as_str()), (Kind::Permanent, "script-unexpected"));
    assert_eq!(fault.what, r#"play.toml: turn 1 expects a last message with "ok", but it was "failed""#);
}

#[tokio::test]
async fn errors_are_faults_of_their_kind() {
    let toml =
        "[[turn]]\nerror = { kind = \"rate-limited\", code = \"slow\", what = \"w\", retry_after_ms = 5 }\n";
    let fault = ask(toml, 0, "").await.unwrap_err();
    assert_eq!((fault.kind, fault.code.as_str(), fault.what.as_str()), (Kind::RateLimited, "slow", "w"));
    assert_eq!(fault.retry_after_ms, Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_delay_ends_with_the_token() {
    let script = Script::parse("[[turn]]\ndelay_ms = 3600000\ntext = \"late\"\n", "t").unwrap();
    let cancel = Cancel::new();
    let (fault, ()) = tokio::join!(script.respond(request(0, vec![]), cancel.clone(), &Quiet), async {
        tokio::task::yield_now().await;
        cancel.cancel(Urgency::Graceful);
    });
    assert_eq!(fault.unwrap_err().fault.code, "cancelled");
    let reply = script.respond(request(0, vec![]), Cancel::new(), &Quiet).await.unwrap();
    assert_eq!(reply.text, "late");
}

#[tokio::test]
async fn the_text_is_streamed_whole() {
    #[derive(Default)]
    struct Heard(std::sync::Mutex<String>);
    impl Sink for Heard {
        fn delta(&self, delta: Delta) {
            if let Delta::Text(text) = delta {
                self.0.lock().unwrap().push_str(&text);
            }
        }
    }
    let heard = Heard::default();
    let script = Script::parse("[[turn]]\ntext = \"one two\\nthree\"\n", "t").unwrap();
    script.respond(request(0, vec![]), Cancel::new(), &heard).await.unwrap();
    assert_eq!(*heard.0.lock().unwrap(), "one two\nthree");
}

#[test]
fn the_card_knows_its_price_or_says_it_does_not() {
    let card = |toml| Script::parse(toml, "t").unwrap().card();
    assert_eq!(card("").price, None);
    let known = card(
        "[model]\ncontext_tokens = 9\noutput_tokens = 3\nprice_input_usd_per_mtok = 0.1\nprice_output_usd_per_mtok = 15\n",
    );
    let price = known.price.unwrap();
    assert_eq!((known.context_tokens, known.output_tokens), (9, 3));
    assert_eq!((price.input, price.output), (100_000_000, 15_000_000_000));
}

#[test]
fn a_mistake_names_file_line_and_nearest_key() {
    assert_eq!(
        refused("[[turn]]\ntext = \"a\"\ndelay = 3\n").lines().collect::<Vec<_>>(),
        [
            "play.toml:3: unknown field `delay`, expected one of `expect`, `when`, `text`, `call`, `delay_ms`, `repeat`, `literal`, `error`, `usage`, `stop`",
            "  hint: did you mean `delay_ms`?"
        ]
    );
    for (toml, line, hint) in [
        ("\n[modle]\n", "play.toml:2:", "`model`"),
        ("[[turn]]\nstop = \"endturn\"\n", "play.toml:2:", "`end-turn`"),
        ("[[turn]]\n[[turn.call]]\ntool = \"x\"\nargz = {}\n", "play.toml:4:", "`args`"),
        ("[[turn]]\nrepeat = 0\n", "play.toml:1:", "FORMATS"),
        ("[model]\nprice_input_usd_per_mtok = 1.0\n", "play.toml:1:", "FORMATS"),
        ("[[turn]]\ntext = \n", "play.toml:2:", "FORMATS"),
        ("[[turn]]\n[[turn.call]]\ntool=\"x\"\nargs={}\nraw_args=\"\"\n", "play.toml:1:", "FORMATS"),
    ] {
        let said = refused(toml);
        assert!(said.starts_with(line) && said.contains(hint), "{said}");
    }
}
