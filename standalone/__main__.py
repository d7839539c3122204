"""What `make run` does once packages and .venv are there.

python -m standalone        start everything in the foreground, and say how to use it
python -m standalone clean  remove the data of `make run`
"""

import os
import resource
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

from standalone import place
from standalone.demo_mail import send_demo_mail
from standalone.place import CHECKOUT, HOST, SERVER, Ports, Refused

SERVER_PROGRAMS = ("postfix", "postmap", "smtp-sink", "dovecot", "doveadm")
OPEN_FILES = 8192
CATCH_UP_TRIES = 5
# The demo's mail for other domains goes into files, also where an earlier version let none leave.
OUTSIDE = f"smtp:[{HOST}]:"
NOWHERE = "error:5.7.1 This server sends no mail to other domains"
ADMIN_PATHS = "/usr/sbin:/sbin"
# The demo's domain that has webmail from the start.
WITH_WEBMAIL = "example.com"


def main(arguments: list[str]) -> int:
    """Run one of the two commands; return the exit status."""
    os.chdir(CHECKOUT)
    # Debian keeps the servers where an ordinary user's PATH does not look.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{ADMIN_PATHS}"
    try:
        match arguments:
            case []:
                return run()
            case ["clean"]:
                return clean()
        raise Refused("usage: python -m standalone [clean]")
    except Refused as refusal:
        print(f"run: {refusal}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


def say(text: str) -> None:
    """Tell the person at the terminal what is being done."""
    print(f"run: {text}", flush=True)


def run() -> int:
    """Start everything that can be had here, and stay until it is stopped."""
    # Only here: `clean` must work where no requirement is installed.
    from mailhost.instance import missing_for
    from standalone.parts import panel_parts, queue_parts, server_parts
    from standalone.supervisor import Supervisor

    why_none = why_no_servers()
    if not why_none and os.geteuid() != 0:
        become_root()
    if why_none:
        say(f"no mail server: {why_none}. The panel runs without one.")
    ports = Ports.chosen(os.environ)
    var = choose_var(with_servers=not why_none)
    place.prepare(var)
    with place.alone_in(var):
        ports.check_free(with_servers=not why_none)
        environ = place.environment(os.environ, var=var, ports=ports, with_servers=not why_none)
        with_webmail = not why_none and not missing_for("webmail")
        if not why_none and not with_webmail and "WEBMAIL_URL" not in os.environ:
            environ["WEBMAIL_URL"] = ""
        first_time = not (var / "demo-logins.txt").exists()
        say(f"everything is kept in {var}")
        for name in ("redis", "beat"):
            (var / name).mkdir(mode=0o700, exist_ok=True)
        # SQLite takes over an empty file, and gives its journals the same mode.
        place.write_closed(var / "panel.sqlite3")
        had_server = (place.mailhost_root(var) / "host.json").exists()
        if not why_none:
            prepare_server(var, ports)
            place.make_outside(var)
        prepare_panel(environ)
        if with_webmail and first_time:
            call("django", "set_webmail", WITH_WEBMAIL, "on", "--now", environ=environ)

        parts = []
        if shutil.which("redis-server"):
            parts += queue_parts(var, ports, environ)
        else:
            say("no redis-server: no worker can run, so changes stay pending.")
        parts += panel_parts(var, ports, environ)
        if not why_none:
            parts += server_parts(var, ports)
        raise_file_limit()
        say(f"starting {', '.join(part.name for part in parts)}")
        supervisor = Supervisor(
            parts,
            environ=environ,
            on_ready=lambda: greet(
                var, ports, environ, with_servers=not why_none, had_server=had_server
            ),
        )
        status = supervisor.run()
    say(f"stopped: {supervisor.failure}" if supervisor.failure else "stopped.")
    return status


def raise_file_limit() -> None:
    """Allow the open files that Dovecot counts on (5,000), if the system lets this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES <= hard or hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


def why_no_servers() -> str:
    """Return "" if Postfix and Dovecot can be run here, if need be through sudo; else why not."""
    from mailhost.instance import missing_programs

    if os.environ.get("WITHOUT_MAIL_SERVER"):
        return "WITHOUT_MAIL_SERVER is set"
    if os.geteuid() == 0:
        return (missing_programs() or "").rstrip(".")
    if missing := [name for name in SERVER_PROGRAMS if not shutil.which(name)]:
        return f"{', '.join(missing)} not installed"
    if not shutil.which("sudo"):
        return "Postfix and Dovecot start only as root, and there is no sudo"
    say("asking sudo: Postfix and Dovecot are started as root, to run as their own users.")
    if subprocess.run(["sudo", "-v"], check=False).returncode:
        return "Postfix and Dovecot start only as root, and sudo said no"
    return ""


def become_root() -> None:
    """Start again through sudo, with every setting that was given."""
    kept = ",".join(sorted(place.settings() & set(os.environ)))
    options = [f"--preserve-env={kept}"] if kept else []
    command = ["sudo", *options, "--", sys.executable, "-B", "-m", "standalone"]
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def choose_var(*, with_servers: bool) -> Path:
    """Return the directory for all data: one that the mail servers' users can reach."""
    named = os.environ.get("PLUSMAIL_VAR", "")
    var = Path(named).absolute() if named else CHECKOUT / "var"
    problem = unsuitable(var) if with_servers else None
    if problem and named:
        raise Refused(f"PLUSMAIL_VAR={named} will not do for the mail servers: {problem}.")
    if problem:
        say(f"{var} will not do for the mail servers: {problem}.")
        var = place.far_from_the_checkout()
    if len(bytes(place.redis_socket(var))) > 100:
        raise Refused(f"{var} is too long a path for sockets: name another by PLUSMAIL_VAR.")
    return var


def unsuitable(var: Path) -> str | None:
    """Return why the mail servers cannot use this directory, or None."""
    from mailhost.paths import suitable_root

    problem = suitable_root(place.mailhost_root(var))
    return problem.rstrip(".") if problem else None


def prepare_server(var: Path, ports: Ports) -> None:
    """Make the mail server's directories and configuration, or bring its ports up to date.

    Whatever else somebody wrote into host.json stays.
    """
    from mailhost.config import ConfigError, HostConfig, load_config
    from mailhost.instance import InstanceError, init, missing_for

    if no_ftp := missing_for("ftp"):
        say(f"no FTP: {no_ftp}")
    if no_webmail := missing_for("webmail"):
        say(f"no webmail: {no_webmail}")
    if no_ssh := missing_for("ssh"):
        say(f"no SSH: {no_ssh}")
    say(f"preparing the mail server {SERVER}")
    root = place.mailhost_root(var)
    root.parent.mkdir(exist_ok=True)
    root.parent.chmod(0o755)  # the servers' users pass through it, whatever the umask
    try:
        if (root / "host.json").exists():
            config = load_config(root)
        else:
            # The demo's own fixed account.
            config = HostConfig(SERVER, postmaster="example@example.com", outbound=NOWHERE)
        if config.outbound == NOWHERE or config.outbound.startswith(OUTSIDE):
            config = replace(config, outbound=f"{OUTSIDE}{ports.outside}")
        panel = f"http://{HOST}:"
        if not config.help_url or config.help_url.startswith(panel):
            config = replace(config, help_url=f"{panel}{ports.web}/help/sending")
        config = replace(
            config,
            smtp_port=ports.smtp,
            submission_port=ports.submission,
            submissions_port=ports.submissions,
            policy_port=ports.policy,
            reply_port=ports.reply,
            pop3_port=ports.pop3,
            pop3s_port=ports.pop3s,
            imap_port=ports.imap,
            imaps_port=ports.imaps,
            ftp_port=0 if no_ftp else ports.ftp,
            sftp_port=0 if no_ftp else ports.sftp,
            ssh_port=0 if no_ssh else ports.ssh,
            panel_imap_port=ports.panel_imap,
            client_names=False,  # all of this machine, which may have no network
            webmail_port=0 if no_webmail else ports.webmail,
            webmail_imap_port=ports.webmail_imap,
            webmail_submission_port=ports.webmail_submission,
        )
        init(root, config)
    except (ConfigError, InstanceError) as error:
        raise Refused(str(error)) from error


def prepare_panel(environ: dict[str, str]) -> None:
    """Bring database, static files and demo data up to date; data there already is kept."""
    for doing, command in (
        ("bringing the database up to date", ["migrate", "--verbosity", "0"]),
        ("collecting static files", ["collectstatic", "--noinput", "--verbosity", "0"]),
        ("loading the demo data, once", ["load_demo"]),
    ):
        say(doing)
        call("django", *command, environ=environ)


def call(module: str, *arguments: str, environ: dict[str, str] | None = None) -> None:
    """Run a module to its end; Refused if it fails, after its own words."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], env=environ, check=False)
    if done.returncode:
        raise Refused(f"`{module} {' '.join(arguments)}` failed; its words are above.")


def greet(
    var: Path, ports: Ports, environ: dict[str, str], *, with_servers: bool, had_server: bool
) -> None:
    """Let the pages know at once that the mail server answers, then greet the newcomer.

    A server that was there before (`had_server`) may have been made by an earlier version.
    """
    if with_servers:
        call("django", "check_servers", environ=environ)
    if with_servers and had_server:
        catch_up(environ)
    delay = environ["PROPAGATION_DELAY"]
    print(welcome(var, ports, delay=delay, with_servers=with_servers), flush=True)
    sent = var / "demo-mail-sent"
    if with_servers and not sent.exists():
        send_demo_mail(ports)
        sent.touch()


def catch_up(environ: dict[str, str]) -> None:
    """Bring the mail server to what the panel wants, which earlier versions said in fewer words."""
    command = [sys.executable, "-m", "django", "reconcile", "--repair"]
    for _ in range(CATCH_UP_TRIES):
        done = subprocess.run(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )  # fmt: skip
        if not done.returncode:
            break
        # The worker may be at work on the same server.
        time.sleep(1)
    words = done.stdout.splitlines()[-1:]
    if words != ["0 difference(s) mended."]:
        say(f"comparing the mail server with the panel: {' '.join(words)}")


def welcome(var: Path, ports: Ports, *, delay: str, with_servers: bool) -> str:
    """Return what the newcomer reads when everything answers."""
    logins = var / "demo-logins.txt"
    lines = [
        "",
        "PLUSMAIL is ready.",
        "",
        f"  Panel      http://{HOST}:{ports.web}/",
        *textwrap.indent(logins.read_text() if logins.exists() else "", "  ").splitlines(),
    ]
    if with_servers:
        lines += [
            f"  SMTP       {HOST} port {ports.smtp}; with a password, to anybody: port "
            f"{ports.submission} (TLS: {ports.submissions})",
            f"  POP3       {HOST} port {ports.pop3} (TLS: {ports.pop3s})",
            f"  IMAP       {HOST} port {ports.imap} (TLS: {ports.imaps})",
            f"  FTP        {HOST} port {ports.ftp} (SFTP: {ports.sftp}), for accounts that have it"
            " switched on",
            f"  SSH        ssh -p {ports.ssh} NAME@{HOST}, for accounts that have it switched on:"
            " Alpine",
            *webmail_told(ports),
            "",
            "A first thing to try: log in as sakura and add the POP account `hello`. It goes",
            f"live after {delay} seconds (in production: 15 minutes). Then send to it:",
            "",
            f"  python3 -c \"import smtplib; s = smtplib.SMTP('{HOST}', {ports.smtp}); "
            "s.sendmail('me@example.edu', 'hello@example.com', 'Subject: first\\n\\nHello.')\"",
            "",
            "and read it:",
            "",
            f"  python3 -c \"import poplib; p = poplib.POP3('{HOST}', {ports.pop3}); "
            "p.user('hello'); p.pass_('PASSWORD'); print(*p.retr(1)[1], sep=chr(10))\"",
            "",
            "In example.com ito's mailbox fills up and kato's is full, soon after the first start:",
            "see what the panel says of it, and writes.",
            "",
            "That login lets you send to other domains for 30 minutes too. What leaves goes into",
            f"{place.outside_mail(var)}, never to the Internet:",
            "",
            f"  python3 -c \"import smtplib; s = smtplib.SMTP('{HOST}', {ports.smtp}); "
            "s.sendmail('hello@example.com', 'you@example.edu', 'Subject: back\\n\\nHi.')\"",
        ]
    else:
        lines += ["", "  No mail server is connected: changes made in the panel stay pending."]
    return "\n".join([*lines, "", "Ctrl-C stops everything; the data stays.", ""])


def webmail_told(ports: Ports) -> list[str]:
    """Return where webmail is; nothing where it is not installed."""
    from mailhost.instance import missing_for

    address = f"http://{WITH_WEBMAIL}.localhost:{ports.webmail}/webmail/"
    told = [f"  Webmail    {address}, as tanaka with the mailboxes' password"]
    return [] if missing_for("webmail") else told


def clean() -> int:
    """Remove the data of `make run`, where this checkout keeps it."""
    named = os.environ.get("PLUSMAIL_VAR", "")
    for var in (
        Path(named).absolute() if named else CHECKOUT / "var",
        place.far_from_the_checkout(),
    ):
        if not (var / place.MARKER).exists():
            continue
        if var.stat().st_uid != os.geteuid():
            raise Refused(f"{var} was made by another user, root perhaps: try `sudo make clean`.")
        with place.alone_in(var):
            say(f"removing {var}")
            shutil.rmtree(var)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
