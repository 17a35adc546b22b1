"""`ovdiff doctor`: what a backend needs, looked at piece by piece, each with what to set where it is missing.

    settings, preset, weights, device, memory, disk      `machine` and `weights`
    the service itself                                   `service`
    Label Studio: address, token, clock                  `label_studio`
    each project: connection, webhook, images            `connection` and `storages`

A check is a small function that returns a `findings.Finding`. `examination` runs them in order, each within a time, and
a check that fails unexpectedly is a finding too. Nothing is changed: not in Label Studio, and nothing on the disk but
one temporary file.
"""
