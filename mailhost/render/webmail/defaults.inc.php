<?php
// Rendered by mailhost from its template: change the template, not this file.
// What Debian's package says where config.inc.php beside this says nothing.
include '/etc/roundcube/defaults.inc.php';
