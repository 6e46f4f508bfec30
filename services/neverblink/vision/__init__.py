"""The models: arrays and files in, arrays and files out. No Kafka, no OPC UA, no clock."""
