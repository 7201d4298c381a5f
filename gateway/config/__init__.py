"""The configuration file, from YAML to a checked `Config`.

`load` reads a file, or one route from options, and raises every `ConfigIssue` (`issue`) at once. It parses the text to
plain values with lines (`yaml_document`), validates them with the model, checks them across keys and reads the
references.

* Files: `source_reader` reads each `source_file`, those of `include`, too, and `merged_tree` joins their values;
  `include_rules` checks what an included file may use. `watched_files` finds whether files have changed.
* Model: `model`, `include_model`, `listen_model`, `log_model`, `route_model`, `caller_model`, `service_model`,
  `state_model`, `console_model`, `notify_model`, `telemetry_model`, `vault_model`, of `strict_model`, the types in
  `values` and `default_addresses`; `messages` for its errors.
* Checks across keys: `cross_checks`, `credential_rules`, `caller_rules`, `service_rules`, `console_rules`,
  `telemetry_rules`, `redis_url`; `review` finds values that cannot work, by the rules of the package `corrections` and
  `typography`.
* Variables of OpenTelemetry: `otel_environment` applies them to `telemetry`; `otel_package` finds its package.
* References: `reference_walk` finds them; `reference_reader` reads each once; `references` adds the rules of sections,
  and rates secrets of callers by `secret_strength`; `secrets`, `key_files` and `console_users` read them.
* Secrets on servers: a `secret_cache` each for `oci_vault` and `hashicorp_vault`, which speaks `vault_protocol`;
  `vault_environment` applies the variables of Vault.
* Uses: `resolved` applies `defaults` to each route; `hidden_values` hides what may be secret; `difference` compares two
  configurations; `schema` and `reference` describe the model for editors and people.
"""
