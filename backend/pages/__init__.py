"""What people look at in a browser: pages that show what the service and its engine know, drawn on the server.

`blueprint` holds the routes, `overview` and its neighbours what each page shows, as data; `templates/` how it looks.
docs/page.md tells how a page is added. This room imports the service, and nothing imports it but whoever makes the
application.
"""
