"""What looks at many tasks of a project, outside the request: tasks to annotate next, and candidates for new labels."""
