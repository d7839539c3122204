"""Who changed what, when and from where: a trail that customers read and nobody edits."""
