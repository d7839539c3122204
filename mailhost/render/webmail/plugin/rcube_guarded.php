<?php

/**
 * Roundcube's IMAP, but for messages whose structure would cost it all its memory or time: more
 * parts than any mail program makes, or a kind that Dovecot and the message's own header disagree
 * about, which Roundcube would take apart in memory. They have no parts then, and are shown as the
 * text they are.
 */
class rcube_guarded extends rcube_imap
{
    // Parts, each with the few lists that Dovecot tells of it.
    private const MOST_PARTS = 1500;
    private const MOST_DEPTH = 30;
    private const MOST_BYTES = 200000;

    // Headers by folder and message: of those that are guarded, and of the one at hand, so that
    // what asks for them again does not ask the server.
    private $guarded = [];
    private $latest = [];

    /** Say whether the last login failed by its name or password, and not by the server's trouble. */
    public function is_refused()
    {
        return $this->conn->resultcode === 'AUTHENTICATIONFAILED';
    }

    public function get_message_headers($uid, $folder = null, $force = false)
    {
        $known = $this->guarded + $this->latest;
        $headers = $known[$this->name($uid, $folder)] ?? null;
        return $headers && !$force ? $headers : parent::get_message_headers($uid, $folder, $force);
    }

    public function get_message($uid, $folder = null)
    {
        $headers = $this->get_message_headers($uid, $folder);
        if (is_object($headers) && !$this->is_harmless($headers)) {
            $this->guarded[$this->name($uid, $folder)] = $headers;
            return $headers;
        }
        $this->latest = [$this->name($uid, $folder) => $headers];
        try {
            return parent::get_message($uid, $folder);
        } finally {
            $this->latest = [];
        }
    }

    private function name($uid, $folder)
    {
        return ($folder ?: $this->folder) . "\n" . $uid;
    }

    public function get_body($uid, $part = 1)
    {
        if (empty($this->guarded[$this->name($uid, null)]) || !$this->check_connection()) {
            return parent::get_body($uid, $part);
        }
        $text = $this->conn->handlePartBody(
            $this->folder, $uid, true, 'TEXT', null, null, null, false, self::MOST_BYTES
        );
        return rcube_charset::clean((string) $text);
    }

    private function is_harmless($headers)
    {
        $structure = $headers->bodystructure ?? null;
        if (!is_array($structure)) {
            return true;
        }
        $left = self::MOST_PARTS;
        if (!$this->is_small($structure, $left, self::MOST_DEPTH)) {
            return false;
        }
        // As in rcube_imap::get_message: the header names a kind, Dovecot found plain text.
        $kind = strtolower((string) $headers->ctype);
        return $kind === '' || $kind === 'text' || is_array($structure[0] ?? null)
            || preg_match('/^(text|application)\//', $kind)
            || strtolower(($structure[0] ?? '') . '/' . ($structure[1] ?? '')) !== 'text/plain';
    }

    private function is_small($part, &$left, $depth)
    {
        if (!$depth) {
            return false;
        }
        foreach ($part as $inner) {
            if (is_array($inner) && (--$left < 0 || !$this->is_small($inner, $left, $depth - 1))) {
                return false;
            }
        }
        return true;
    }
}
