<?php
// Rendered by mailhost from its template: change the template, not this file.
// Before Roundcube: its plugins are those of this directory, and no others.
define('RCUBE_PLUGINS_DIR', '{{ webmail }}/etc/plugins/');
