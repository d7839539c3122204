<?php
// Rendered by mailhost from its template: change the template, not this file.
return include '/etc/roundcube/mimetypes.php';
