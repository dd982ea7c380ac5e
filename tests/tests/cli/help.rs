use super::Sandbox;

#[test]
fn every_command_explains_itself() {
    let sandbox = Sandbox::new();
    for command in ["", "compile", "doctor", "train", "eval", "export", "inspect", "quickstart"] {
        let name = if command.is_empty() { "razorc" } else { command };
        insta::assert_snapshot!(format!("help_{name}"), sandbox.succeed(&format!("{command} --help")));
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let sandbox = Sandbox::new();
    for arguments in ["", "fly", "compile", "train t.trainer", "train t.trainer --data x --epochs 1 --steps 1"] {
        assert_eq!(sandbox.run(arguments).status.code(), Some(2), "razorc {arguments}");
    }
}
