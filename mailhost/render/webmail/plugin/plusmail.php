<?php

require_once __DIR__ . '/rcube_guarded.php';

/**
 * What webmail needs of PLUSMAIL: the mail server hears who the visitor is, and the visitor sees
 * whose webmail it is.
 */
class plusmail extends rcube_plugin
{
    private const MOST_TAGS = 20000;

    public function init()
    {
        $this->add_hook('storage_connect', [$this, 'introduce']);
        $this->add_hook('ready', [$this, 'confirm']);
        $this->add_hook('template_object_loginform', [$this, 'greet']);
        $this->add_hook('message_part_before', [$this, 'spare']);
    }

    /** Show HTML of tens of thousands of elements, which takes minutes to check, as plain text. */
    public function spare($args)
    {
        if ($args['type'] === 'html' && substr_count((string) $args['body'], '<') > self::MOST_TAGS) {
            $args['type'] = 'plain';
            $args['body'] = strip_tags($args['body']);
        }
        return $args;
    }

    /** Tell Dovecot the visitor's address before the login (IMAP ID; login_trusted_networks). */
    public function introduce($args)
    {
        $args['preauth_ident'] = ['x-originating-ip' => rcube_utils::remote_addr()];
        return $args;
    }

    /**
     * End a session whose password is no longer right, whatever page it asks for: Roundcube itself
     * shows address books and settings without asking the mail server.
     */
    public function confirm($args)
    {
        $webmail = rcmail::get_instance();
        if ($webmail->storage_connect() || !$webmail->get_storage()->is_refused()) {
            return $args;
        }
        $webmail->kill_session();
        if ($webmail->output->ajax_call || $webmail->output->get_env('framed')) {
            $webmail->output->command('session_error', $webmail->url(['_err' => 'session']));
            $webmail->output->send('iframe');
        }
        $webmail->output->show_message('sessionerror', 'error', null, true, -1);
        $webmail->set_task('login');
        $webmail->output->send('login');
    }

    /** Name the domain above the form, and say what to enter. */
    public function greet($args)
    {
        $this->add_texts('localization/');
        $domain = rcube::Q(rcmail::get_instance()->config->get('product_name'));
        $args['content'] = html::tag('h2', ['id' => 'plusmail-domain'], $domain)
            . html::p(['id' => 'plusmail-hint'], rcube::Q($this->gettext('hint')))
            . $args['content'];
        return $args;
    }
}
