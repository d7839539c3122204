<?php
// Roundcube of {{ hostname }}, for all domains that have webmail.
// Rendered by mailhost from its template: change the template, not this file.
// Source for every setting: /etc/roundcube/defaults.inc.php.

$config = [];

// The domain at whose address the visitor is. nginx has let nothing through but a domain's name
// with a directory of its own.
$site = (string) ($_SERVER['PLUSMAIL_SITE'] ?? '');
if (!preg_match('/\A[a-z0-9-]+(?:\.[a-z0-9-]+)+\z/', $site)) {
    http_response_code(404);
    exit;
}
$home = '{{ webmail }}/sites/' . $site;

// --- What belongs to this domain alone: settings and address books, the key that encrypts the
// password of an open session, files on their way.
$config['db_dsnw'] = 'sqlite:///' . $home . '/webmail.db?mode=0600';
$config['des_key'] = trim((string) file_get_contents($home . '/des_key'));
$config['cipher_method'] = 'AES-256-CBC';
$config['temp_dir'] = $home . '/temp';
$config['log_dir'] = '{{ webmail }}/log';
$config['log_logins'] = true;

// --- Who may log in: accounts of this domain. A bare name gets the domain, another domain is
// replaced by it; Dovecot asks for the same on this port.
$config['username_domain'] = $site;
$config['username_domain_forced'] = true;
$config['mail_domain'] = $site;
// Guessing is slowed by the mail server's policy daemon, which spares the owner.
$config['login_rate_limit'] = 0;

// --- The mail server, on listeners that are this program's alone. They are told the visitor's
// address (the plugin, and XCLIENT), and open no way for other mail from there.
$config['imap_host'] = '127.0.0.1:{{ webmail_imap_port }}';
// Roundcube's own IMAP, but for messages that would cost it all its memory (the plugin).
$config['storage_driver'] = 'guarded';
$config['smtp_host'] = '127.0.0.1:{{ webmail_submission_port }}';
$config['smtp_user'] = '%u';
$config['smtp_pass'] = '%p';
$config['smtp_xclient_addr'] = true;
$config['smtp_log'] = false;
$config['plugins'] = ['plusmail'];

// --- Sessions
$config['session_lifetime'] = 60;
$config['session_samesite'] = 'Strict';
$config['session_name'] = 'plusmail_webmail';
$config['session_path'] = '/webmail/';
$config['x_frame_options'] = 'sameorigin';
$config['trusted_host_patterns'] = ['^' . preg_quote($site) . '$', '^' . preg_quote($site) . '\.localhost$'];
$config['enable_installer'] = false;

// --- What the visitor sees
$config['product_name'] = function_exists('idn_to_utf8') ? (idn_to_utf8($site) ?: $site) : $site;
$config['useragent'] = 'Webmail';
$config['display_product_info'] = 1;
$config['support_url'] = '{{ webmail_help }}';
$config['language'] = null;
$config['timezone'] = 'auto';
$config['date_format'] = 'Y/m/d';
$config['skin'] = 'elastic';
$config['skins_allowed'] = ['elastic'];
$config['enable_spellcheck'] = false;
$config['blankpage_url'] = '/watermark.html';

// --- Folders, as Dovecot calls them; those of a full mailbox that still take something.
$config['drafts_mbox'] = 'Drafts';
$config['junk_mbox'] = 'Junk';
$config['sent_mbox'] = 'Sent';
$config['trash_mbox'] = 'Trash';
$config['create_default_folders'] = true;
$config['protect_default_folders'] = true;

// --- Reading: nothing is fetched from elsewhere unless the reader asks for it, and nobody is told.
$config['show_images'] = 0;
$config['mdn_requests'] = 2;
$config['dont_override'] = ['mdn_requests'];
$config['keyservers'] = [];
$config['identity_image_size'] = 0;
$config['autocomplete_threads'] = 0;

// --- Writing. The server says how large a message may be; the plan's limit stands in a file.
$limit = (int) @file_get_contents('{{ webmail }}/limits/' . $site);
$config['max_message_size'] = $limit > 0 ? $limit : {{ message_size_limit }};
$config['max_recipients'] = 0;
$config['htmleditor'] = 0;
$config['draft_autosave'] = 300;
$config['force_7bit'] = false;
