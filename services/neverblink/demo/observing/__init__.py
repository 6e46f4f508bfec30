"""What watches a plant on one machine: a collector, Zipkin, Prometheus and Alertmanager, each where it is here."""
