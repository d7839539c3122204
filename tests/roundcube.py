"""A visitor of webmail without a browser: Roundcube's pages and answers, by HTTP."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

LOGGED_IN, REFUSED = 302, 401


@dataclass(frozen=True, slots=True)
class Answer:
    """What webmail answered."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def said(self) -> list[str]:
        """What a message on the page says."""
        return [
            words.encode()
            .decode("unicode_escape")
            .encode("utf-16", "surrogatepass")
            .decode("utf-16")
            if "\\u" in words
            else words
            for words in re.findall(r'display_message\(\\?"(.*?)\\?",', self.text)
        ]


@dataclass
class Session:
    """One visitor at the webmail of a domain, with cookies and the token of its forms.

    `address` is the one from which the web server in front says that he comes.
    """

    port: int
    domain: str
    language: str = "en"
    address: str = "198.51.100.7"
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def ask(self, path: str = "", form: dict[str, str] | None = None, **headers: str) -> Answer:
        """Get a page below /webmail/, or send a form to it."""
        sent = {
            "Host": self.domain,
            "Accept-Language": self.language,
            "X-Forwarded-For": self.address,
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        body = None
        if form is not None:
            body = urlencode({"_token": self.token, **form})
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(
                "POST" if body is not None else "GET", f"/webmail/{path}", body, sent
            )
            response = connection.getresponse()
            answer = Answer(
                response.status, response.headers, response.read().decode("utf-8", "replace")
            )
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        if found := re.search(r'"request_token":"([^"]+)"', answer.text):
            self.token = found[1]
        return answer

    def log_in(self, login: str, password: str) -> Answer:
        """Fill in the form and send it: LOGGED_IN or REFUSED is its status."""
        self.ask()
        form = {"_task": "login", "_action": "login", "_timezone": "Asia/Tokyo", "_url": ""}
        answer = self.ask("?_task=login", {**form, "_user": login, "_pass": password})
        if answer.status == LOGGED_IN:
            self.ask("?_task=mail")
        return answer

    def uids(self, folder: str = "INBOX") -> list[int]:
        """Return the messages of a folder as the pages of its list show them, the newest first."""
        found: list[int] = []
        for page in range(1, 100):
            listed = self.ask(f"?_task=mail&_action=list&_mbox={folder}&_remote=1&_page={page}")
            some = [int(uid) for uid in re.findall(r"add_message_row\((\d+)", listed.text)]
            found += some
            pages = re.search(r'"pagecount":(\d+)', listed.text)
            if not some or not pages or page >= int(pages[1]):
                break
        return found

    def show(self, uid: int, folder: str = "INBOX", action: str = "show") -> Answer:
        """Open a message."""
        return self.ask(f"?_task=mail&_action={action}&_uid={uid}&_mbox={folder}")

    def delete(self, *uids: int, folder: str = "INBOX") -> Answer:
        """Delete messages: into Trash, or from there for good."""
        form = {"_uid": ",".join(map(str, uids)), "_mbox": folder, "_remote": "1"}
        action = "delete" if folder == "Trash" else "move"
        target = {} if folder == "Trash" else {"_target_mbox": "Trash"}
        return self.ask(f"?_task=mail&_action={action}", {**form, **target})

    def send(self, to: str, subject: str = "hello", text: str = "hello", **more: str) -> Answer:
        """Write a message and send it; the answer says what became of it."""
        led = self.ask("?_task=mail&_action=compose")
        draft = re.search(r"_id=([0-9a-f]+)", led.headers.get("Location", ""))
        assert draft, led.text[:500]
        page = self.ask(f"?_task=mail&_action=compose&_id={draft[1]}").text
        chosen = re.search(r'<select[^>]*name="_from".*?<option value="(\d+)"', page, re.DOTALL)
        form = {"_task": "mail", "_action": "send", "_id": draft[1], "_framed": "1"}
        form |= {
            "_from": chosen[1] if chosen else "1",
            "_store_target": "Sent",
            "_draft_saveid": "",
        }
        form |= {"_to": to, "_subject": subject, "_message": text, "_is_html": "0", **more}
        return self.ask("?_task=mail&_framed=1", form)
